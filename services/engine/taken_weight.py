"""What stands where the weight of a layer was before a faster layer took it over."""

from typing import Any

import torch
from torch import Tensor


class TakenWeight(Tensor):
    """Tells its shape and type to a model that reads it, and fails what computes with it."""

    @classmethod
    def like(cls, rows: int, columns: int, dtype: torch.dtype) -> "TakenWeight":
        """Returns one of that shape, which takes the memory of one element."""
        return torch.zeros((), dtype=dtype).expand(rows, columns).as_subclass(cls)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See Tensor."""
        if func.__name__ != "__get__":
            raise RuntimeError(f"{func.__name__} needs a weight that was packed")
        return super().__torch_function__(func, types, args, kwargs or {})
