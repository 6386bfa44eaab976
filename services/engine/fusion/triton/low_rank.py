"""Kernels for the low-rank products of adapters (LoRA): one shrinks rows to the rank, one expands them and adds the
result.

Rows of a step may use different adapters: a program takes a tile of rows and one of the adapters that they use, and
writes only the rows of that adapter. The result of a row depends, bit for bit, neither on other rows nor on its place.
"""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
import math
from collections.abc import Sequence
from itertools import accumulate

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.adapters.beside import Picked
from services.engine.fusion.triton.launch import following, power

_ROWS = 16
"""Rows of a tile: the fewest that tensor cores take."""
_LEAST_RANK, _MOST_RANKS = 16, 64
"""The fewest ranks that tensor cores take, and the most that a program takes."""
_BLOCK = 128
"""Columns of factors that a program loads at a time, the first before it waits for the rows."""
_COLUMNS, _MOST_SPLITS = 256, 16
"""The width is split into parts of at least so many columns, and at most so many parts, whatever the number of rows:
else bits would depend on it.
"""
_LEAST_UNITS, _MOST_UNITS = 16, 128
_NONE = tl.constexpr(1 << 30)


@triton.jit
def adapter_of(numbers, slot):
    """Returns the adapter with the slot-th smallest number among those of the rows, or _NONE; negative numbers are no
    adapter.
    """
    found = tl.min(tl.where(numbers >= 0, numbers, _NONE), axis=0)
    for _ in range(slot):
        found = tl.min(tl.where(numbers > found, numbers, _NONE), axis=0)
    return found


@triton.jit(do_not_specialize=["count", "slots"])
def shrink_rows(
    rows, numbers, first, shrunk, count, slots, WIDTH: tl.constexpr, RANKS: tl.constexpr, ROWS: tl.constexpr,
    TILE: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes TILE ranks of `[SPLITS, count, RANKS]` for those of ROWS rows `[count, WIDTH]` that use one adapter.

    Each is a sum over one split of the width, with the factors `[RANKS, WIDTH]` of the adapter.
    """
    LENGTH: tl.constexpr = (WIDTH + BLOCK * SPLITS - 1) // (BLOCK * SPLITS) * BLOCK
    if EARLY:
        gdc_launch_dependents()
    own = tl.program_id(0) // slots * ROWS + tl.arange(0, ROWS)
    named = tl.load(numbers + own, mask=own < count, other=-1).to(tl.int32)
    adapter = adapter_of(named, tl.program_id(0) % slots)
    ranks = tl.program_id(1) * TILE + tl.arange(0, TILE)
    columns = tl.program_id(2) * LENGTH + tl.arange(0, BLOCK)
    at = first + (adapter.to(tl.int64) * RANKS + ranks)[:, None] * WIDTH + columns[None, :]
    ahead = tl.load(at, mask=(columns < tl.where(adapter < _NONE, WIDTH, 0))[None, :], other=0.0)
    if EARLY:  # also in programs that write nothing: the next kernel relies on all results before
        gdc_wait()
    if adapter < _NONE:
        beside = rows + tl.minimum(own, count - 1).to(tl.int64)[None, :] * WIDTH + columns[:, None]
        row = tl.load(beside, mask=(columns < WIDTH)[:, None], other=0.0)
        total = tl.dot(ahead, row, tl.zeros([TILE, ROWS], dtype=tl.float32), input_precision="ieee")
        for start in tl.range(BLOCK, LENGTH, BLOCK):
            inside = columns + start < WIDTH
            factor = tl.load(at + start, mask=inside[None, :], other=0.0)
            row = tl.load(beside + start, mask=inside[:, None], other=0.0)
            total = tl.dot(factor, row, total, input_precision="ieee")
        place = (tl.program_id(2) * count + own).to(tl.int64)[None, :] * RANKS + ranks[:, None]
        tl.store(shrunk + place, total, mask=(named == adapter)[None, :])


@triton.jit(do_not_specialize=["count", "slots"])
def expand_rows(
    shrunk, numbers, second, parts, output, count, slots, UNITS: tl.constexpr, RANK: tl.constexpr, RANKS: tl.constexpr,
    ROWS: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Adds the adapter's product to TILE outputs of those of ROWS rows `[count, UNITS]` that use one adapter.

    `parts` says for each TILE outputs which group of RANK of the RANKS sums they use; the factors are `[UNITS, RANK]`.
    """
    if EARLY:
        gdc_launch_dependents()
    own = tl.program_id(0) // slots * ROWS + tl.arange(0, ROWS)
    named = tl.load(numbers + own, mask=own < count, other=-1).to(tl.int32)
    adapter = adapter_of(named, tl.program_id(0) % slots)
    units = tl.program_id(1) * TILE + tl.arange(0, TILE)
    ranks = tl.arange(0, BLOCK)
    at = second + (adapter.to(tl.int64) * UNITS + units)[:, None] * RANK + ranks[None, :]
    inside = (units < tl.where(adapter < _NONE, UNITS, 0))[:, None]
    factor = tl.load(at, mask=inside, other=0.0)
    mine = named == adapter
    sums_at = shrunk + own.to(tl.int64)[None, :] * RANKS + (tl.load(parts + tl.program_id(1)) * RANK + ranks)[:, None]
    if EARLY:
        gdc_wait()
    if adapter < _NONE:
        total = tl.zeros([TILE, ROWS], dtype=tl.float32)
        for start in tl.static_range(0, RANK, BLOCK):
            if start:
                factor = tl.load(at + start, mask=inside, other=0.0)
            sums = tl.zeros([BLOCK, ROWS], dtype=tl.float32)
            for split in tl.static_range(SPLITS):
                of_split = sums_at + start + split * count.to(tl.int64) * RANKS
                sums += tl.load(of_split, mask=mine[None, :], other=0.0)
            total = tl.dot(factor, sums.to(factor.dtype), total, input_precision="ieee")
        place = output + own.to(tl.int64)[None, :] * UNITS + units[:, None]
        written = inside & mine[None, :]
        total += tl.load(place, mask=written, other=0.0).to(tl.float32)
        tl.store(place, total.to(output.dtype.element_ty), mask=written)


class LowRank:
    """The factors of all adapters for merged layers. Ranks are padded with zeros to be equal."""

    def __init__(
        self, picked: Picked, adapters: int, width: int, units: Sequence[int], rank: int, like: Tensor
    ) -> None:
        """Allocates zeros for layers with `units` outputs each and ranks of up to `rank`.

        Raises:
            ValueError: the kernels do not take layers of these widths side by side.
        """
        self.picked = picked
        self.rank, self.starts = max(power(rank), _LEAST_RANK), [0, *accumulate(units)]
        self._tile = math.gcd(_MOST_UNITS, *self.starts[1:-1])
        if self._tile < _LEAST_UNITS:
            raise ValueError(f"the kernels do not take merged layers of {', '.join(map(str, units))} outputs")
        self._units = self.starts[-1]
        self.first = like.new_zeros(adapters, len(units) * self.rank, width)
        """`[adapters, ranks, in]`."""
        self.second = like.new_zeros(adapters, self._units, self.rank)
        """`[adapters, out, rank]`."""
        firsts = range(0, self._units, self._tile)
        owners = [sum(start <= unit for start in self.starts[1:]) for unit in firsts]
        self._parts = torch.tensor(owners, dtype=torch.int32, device=like.device)

    @property
    def active(self) -> bool:
        """Whether rows of the running forward use adapters."""
        return self.picked.numbers is not None

    def room(self, adapter: int, part: int, rank: int) -> tuple[Tensor, Tensor]:
        """Returns views for both factors of one layer, `[rank, in]` and `[out, rank]`."""
        first = self.first[adapter, part * self.rank :][:rank]
        return first, self.second[adapter, self.starts[part] : self.starts[part + 1], :rank]

    def add(self, output: Tensor, rows: Tensor) -> None:
        """Adds the adapters' products of `rows` `[..., in]` to `output` `[..., out]` in place, for the rows that use
        one.

        Raises:
            RuntimeError: the number of rows is not that of the forward's tokens.
        """
        numbers = self.picked.numbers
        if numbers is None:
            return
        adapters, ranks, width = self.first.shape
        rows, output = rows.reshape(-1, width).contiguous(), output.view(-1, self._units)
        count = len(rows)
        if count != len(numbers):
            raise RuntimeError(f"a layer that adapters change is given {count} tokens, and the step has {len(numbers)}")
        tile, slots = min(self.rank, _MOST_RANKS), min(adapters, _ROWS)
        splits = min(-(-width // _COLUMNS), _MOST_SPLITS)
        shrunk = rows.new_empty(splits, count, ranks, dtype=torch.float32)
        programs, early = -(-count // _ROWS) * slots, following(rows.device)
        shrink_rows[(programs, ranks // tile, splits)](
            rows, numbers, self.first, shrunk, count, slots,
            WIDTH=width, RANKS=ranks, ROWS=_ROWS, TILE=tile, BLOCK=_BLOCK, SPLITS=splits, **early, num_warps=4,
        )  # fmt: skip
        expand_rows[(programs, len(self._parts))](
            shrunk, numbers, self.second, self._parts, output, count, slots, UNITS=self._units, RANK=self.rank,
            RANKS=ranks, ROWS=_ROWS, TILE=self._tile, BLOCK=tile, SPLITS=splits, **early, num_warps=4,
        )  # fmt: skip
