"""A stand-in for the weight of a layer whose real weight a faster layer has taken over."""

from typing import Any

import torch
from torch import Tensor


class TakenWeight(Tensor):
    """Has the shape and dtype of the weight, and raises RuntimeError in any computation."""

    @classmethod
    def like(cls, rows: int, columns: int, dtype: torch.dtype) -> "TakenWeight":
        """Returns a stand-in of shape `[rows, columns]`, which takes the memory of one element."""
        return torch.zeros((), dtype=dtype).expand(rows, columns).as_subclass(cls)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See Tensor."""
        if func.__name__ != "__get__":
            raise RuntimeError(f"{func.__name__} needs a weight that was packed")
        return super().__torch_function__(func, types, args, kwargs or {})
