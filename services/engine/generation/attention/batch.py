"""Describes the rows packed into one forward, for attention."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from services.engine.generation.cache.kv_cache import KVCache


@dataclass(frozen=True)
class RowSpan:
    """One sequence's part of the packed batch.

    Its new tokens are at [start, start + length) of the batch, and are the last `length` of its `context` tokens.
    """

    start: int
    length: int
    context: int
    pages: Tensor
    """The sequence's pages in order, int64. They have room for at least `context` tokens."""


@dataclass(frozen=True)
class AttentionBatch:
    """All rows of one forward, and the slots for the keys and values of their new tokens."""

    rows: list[RowSpan]
    slots: Tensor
    """Slot of each packed token, int64 `[T]`."""
    cache: KVCache
    runs: Sequence[int] = ()
    """Three numbers for each run of consecutive tokens with the same adapter: its index, the first token, the token
    count.
    """
