"""How far from a model's own results those of faster code may be."""

import torch

_SHARES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def tolerance(dtype: torch.dtype) -> float:
    """Returns the greatest difference allowed to a model of this type, as a share of the greatest value."""
    return _SHARES.get(dtype, 1e-2)
