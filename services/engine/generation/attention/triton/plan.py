"""A step's rows in the form the kernels read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.generation.attention.batch import AttentionBatch
from services.engine.generation.cache.kv_cache import KVCache

_LEAST = 16
"""Rows a tensor core multiplies at once, and so those of a block at least."""
_LANES = 256
"""Bytes of a key or a value with which a block may have most queries; wider ones leave room for fewer."""
_MOST = 128
_SIXTEENTHS = np.arange(16, 33)
"""Of the even share, which are tried."""


@dataclass(frozen=True)
class QueryBlocks:
    """Some of a step's queries, in blocks of one row each."""

    table: Tensor
    """int64 `[blocks, 5]`: the packed token of the block's first query, how many queries it has, the position of the
    first in its sequence, where that sequence's pages begin in the plan's, and for the decode kernel how many
    tokens of its context a program should take at most. What is before a sequence's first position sees nothing.
    """
    size: int
    """Queries of a block at most."""


@dataclass(frozen=True)
class TritonPlan:
    """What a step stores where, and who attends to what. Rows of a few tokens are apart: they are read otherwise."""

    cache: KVCache
    slots: Tensor
    """int64 `[T]`; negative where nothing is stored."""
    pages: Tensor
    """int64: the pages of all rows."""
    decoding: QueryBlocks | None
    reading: QueryBlocks | None
    batch: AttentionBatch | None = None
    """What it was made of, for what no kernel knows."""
    stored_first: bool = False
    """Whether all tokens are stored before any attends, as those need it that are of one sequence."""


def part_tokens(contexts: Sequence[int] | NDArray[np.int64], cache: KVCache, programs: int) -> int:
    """Returns how many tokens of a context a program should take at most, where so many run beside each other.

    With the even share most contexts leave a part behind that others have to end for, and which then runs nearly alone.
    So it is the least, up to twice that share, with which there are no more parts than programs, if there is any.
    """
    room = max(programs // max(layout.kv_heads for layout in cache.layouts.values()), 1)
    each = np.asarray(contexts, dtype=np.int64)
    shares = np.maximum(-(-int(each.sum()) * _SIXTEENTHS // (16 * room)), _LEAST)
    parts = (-(-each // shares[:, np.newaxis])).sum(axis=1)  # what has no context is soon done
    return int(shares[np.argmax(parts <= room)])


def most_programs(blocks: int, kv_heads: int, programs: int) -> int:
    """Returns how many parts so many blocks have at most, where each takes the `part_tokens` of so many programs.

    That is no less than the even share. Each block may leave one part behind, and one of the tokens that it brings.
    """
    return -(-programs // kv_heads) + 2 * blocks


def most_queries(cache: KVCache) -> int:
    """Returns how many tokens of a sequence the decode kernel takes at once, so that they cost no more than one."""
    return max(_LEAST // max(layout.heads // layout.kv_heads for layout in cache.layouts.values()), 1)


def plan_of(batch: AttentionBatch, programs: Callable[[int], int]) -> TritonPlan:
    """Returns the plan of a step, with one transfer to the GPU. For `programs` see `TritonAttention`."""
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
    """Returns how many queries of a block of a prompt fit a multiprocessor, for all layers."""
    layouts = cache.layouts.values()
    if any(layout.dtype.itemsize > 2 for layout in layouts):
        return _LEAST  # no tensor core multiplies these exactly, and registers are soon full
    wide = max(max(layout.key_width, layout.value_width) * layout.dtype.itemsize for layout in layouts)
    return max(_MOST * _LANES // max(1 << (wide - 1).bit_length(), _LANES), _LEAST)
