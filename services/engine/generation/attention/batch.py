"""What the attention of one forward needs to know about the rows packed into it."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from services.engine.generation.cache.kv_cache import KVCache


@dataclass(frozen=True)
class RowSpan:
    """One sequence's part of the packed batch.

    Its new tokens stand at [start, start + length) of the batch and are the last `length` of its `context` tokens.
    """

    start: int
    length: int
    context: int
    pages: Tensor
    """The sequence's pages in order, int64; they hold at least `context` tokens."""


@dataclass(frozen=True)
class AttentionBatch:
    """All rows of one forward, and where the new tokens' keys and values go."""

    rows: list[RowSpan]
    slots: Tensor
    """Slot of each packed token, int64 `[T]`."""
    cache: KVCache
    runs: Sequence[int] = ()
    """Of each stretch of tokens that are computed with one adapter: its place among all, the first, their count."""
