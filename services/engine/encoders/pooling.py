"""How the vectors of a text's tokens become one."""

from enum import Enum

import torch
from torch import Tensor


class Pooling(Enum):
    """Values are free; names as in the contract."""

    MEAN = "mean"
    FIRST_TOKEN = "first"  # noqa: S105 - no password
    LAST_TOKEN = "last"  # noqa: S105
    MAX = "max"
    NONE = "none"
    """One vector for each token."""


def pooled_place(pooling: Pooling, tokens: int, skipped: int = 0) -> int | None:
    """Returns which of a text's tokens stands for it behind those skipped; None if it is not one alone."""
    return {Pooling.FIRST_TOKEN: skipped, Pooling.LAST_TOKEN: tokens - 1}.get(pooling)


def pooled(states: Tensor, pooling: Pooling) -> Tensor:
    """Returns `[1 or tokens, width]` of the states `[tokens, width]` of one text, which has at least one token."""
    if pooling is Pooling.MEAN:
        return states.mean(0, keepdim=True)
    if pooling is Pooling.MAX:
        return states.amax(0, keepdim=True)
    if pooling is Pooling.FIRST_TOKEN:
        return states[:1]
    if pooling is Pooling.LAST_TOKEN:
        return states[-1:]
    return states


def normalized(vectors: Tensor) -> Tensor:
    """Returns vectors `[n, width]` of length 1; one of zeros stays."""
    return torch.nn.functional.normalize(vectors, dim=-1)
