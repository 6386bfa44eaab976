"""Pools token vectors into the embedding of a text."""

from enum import Enum

import torch
from torch import Tensor


class Pooling(Enum):
    """Kinds of pooling. The names are those of the contract; the values have no meaning."""

    MEAN = "mean"
    FIRST_TOKEN = "first"  # noqa: S105 - no password
    LAST_TOKEN = "last"  # noqa: S105
    MAX = "max"
    NONE = "none"
    """No pooling: one vector per token."""


def pooled_place(pooling: Pooling, tokens: int, skipped: int = 0) -> int | None:
    """Returns the index of the one token that is pooled, after the skipped ones; None if several are pooled."""
    return {Pooling.FIRST_TOKEN: skipped, Pooling.LAST_TOKEN: tokens - 1}.get(pooling)


def pooled(states: Tensor, pooling: Pooling) -> Tensor:
    """Pools the states `[tokens, width]` of one text, with at least one token, to `[1 or tokens, width]`."""
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
    """Returns vectors `[n, width]` scaled to length 1; zero vectors stay zero."""
    return torch.nn.functional.normalize(vectors, dim=-1)
