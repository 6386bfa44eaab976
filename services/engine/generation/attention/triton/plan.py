"""A step's rows in the form that the kernels read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.attention.batch import AttentionBatch
from services.engine.generation.cache.kv_cache import KVCache

_LEAST = 16
"""Rows that a tensor core multiplies at once: the fewest of a block."""
_LANES = 256
"""Up to this many bytes of a key or a value a block may have _MOST queries; with wider ones, fewer fit."""
_MOST = 128
_SIXTEENTHS = np.arange(16, 33)
"""The shares that `part_tokens` tries, in sixteenths of the even share."""


@dataclass(frozen=True)
class QueryBlocks:
    """Some of a step's queries, in blocks that each belong to one row."""

    table: Tensor
    """int64 `[blocks, 5]`: index of the block's first query in the packed batch, number of queries, position of the
    first in its sequence, index of the sequence's first page in the plan's pages, and for the decode kernel the most
    tokens of the context that a program should take.

    A query with a negative position, which pads a step, sees nothing.
    """
    size: int
    """Most queries of a block."""


@dataclass(frozen=True)
class TritonPlan:
    """Where a step stores keys and values, and which queries attend to which pages.

    Rows of a few tokens (`decoding`) and of many (`reading`) have different kernels.
    """

    cache: KVCache
    slots: Tensor
    """int64 `[T]`; negative for tokens that are not stored."""
    pages: Tensor
    """int64: the pages of all rows, concatenated."""
    decoding: QueryBlocks | None
    reading: QueryBlocks | None
    batch: AttentionBatch | None = None
    """The batch that it was made from, for layers that kernels do not support."""
    stored_first: bool = False
    """Whether all tokens have to be stored before any attends, since several belong to one sequence."""


def part_tokens(contexts: Sequence[int] | NDArray[np.int64], cache: KVCache, programs: int) -> int:
    """Returns the most tokens of a context that one of `programs` concurrent programs should take.

    With the even share, most contexts would leave a small part over, which would run nearly alone after all others. So
    this is the least share, up to twice the even one, with which there are no more parts than programs; else the even
    share.
    """
    room = max(programs // max(layout.kv_heads for layout in cache.layouts.values()), 1)
    each = np.asarray(contexts, dtype=np.int64)
    shares = np.maximum(-(-int(each.sum()) * _SIXTEENTHS // (16 * room)), _LEAST)
    parts = (-(-each // shares[:, np.newaxis])).sum(axis=1)  # rows without context take no time, so they do not count
    return int(shares[np.argmax(parts <= room)])


def most_programs(blocks: int, kv_heads: int, programs: int) -> int:
    """Returns the greatest number of parts of `blocks` blocks, if each uses the `part_tokens` for `programs` programs.

    A part is at least the even share. Each block may add one incomplete part, and one for the tokens of the step
    itself.
    """
    return -(-programs // kv_heads) + 2 * blocks


def most_queries(cache: KVCache) -> int:
    """Returns how many tokens of a sequence the decode kernel takes in a block at the price of one."""
    return max(_LEAST // max(layout.heads // layout.kv_heads for layout in cache.layouts.values()), 1)


def plan_of(batch: AttentionBatch, programs: Callable[[int], int]) -> TritonPlan:
    """Returns the plan of a step, with one transfer to the GPU. `programs` is `TritonAttention.programs`."""
    longest = max((row.length for row in batch.rows), default=1)
    size = min(max(1 << (longest - 1).bit_length(), _LEAST), reading_queries(batch.cache))
    single: list[tuple[int, ...]] = []
    several: list[tuple[int, ...]] = []
    contexts = [row.context for row in batch.rows if row.length == 1]
    tokens = part_tokens(contexts, batch.cache, programs(len(contexts)))
    page = 0
    for row in batch.rows:
        before = row.context - row.length
        if row.length == 1:
            single.append((row.start, 1, before, page, tokens))
        else:
            several += [
                (row.start + first, min(size, row.length - first), before + first, page, 0)
                for first in range(0, row.length, size)
            ]
        page += len(row.pages)
    table = torch.from_numpy(np.array(single + several, dtype=np.int64).reshape(-1, 5)).to(batch.slots.device)
    pages = torch.cat([row.pages for row in batch.rows]) if len(batch.rows) > 1 else batch.rows[0].pages
    decoding = QueryBlocks(table[: len(single)], 1) if single else None
    reading = QueryBlocks(table[len(single) :], size) if several else None
    return TritonPlan(batch.cache, batch.slots, pages, decoding, reading, batch)


def reading_queries(cache: KVCache) -> int:
    """Returns how many queries of a prompt's block fit a multiprocessor, for every layer."""
    layouts = cache.layouts.values()
    if any(layout.dtype.itemsize > 2 for layout in layouts):
        return _LEAST  # tensor cores do not multiply float32 exactly, and registers are soon full
    wide = max(max(layout.key_width, layout.value_width) * layout.dtype.itemsize for layout in layouts)
    return max(_MOST * _LANES // max(1 << (wide - 1).bit_length(), _LANES), _LEAST)
