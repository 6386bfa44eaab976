"""Kernel that copies a step's numbers between pinned host memory and the GPU.

Copies run on a separate copy engine, and changing from a kernel to a copy and back costs a GPU some microseconds, twice
in a step. A kernel that accesses pinned memory over the bus avoids both changes.
"""

# ruff: noqa: N803 - constants of a kernel are written in capitals
from collections.abc import Callable
from functools import partial

import triton
import triton.language as tl
from torch import Tensor

from services.engine.device.capture import Captures
from services.engine.fusion.triton.launch import power

_BLOCK = 1024


def carried(captures: Captures, source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
    """Returns a function that replays a recorded `carry`: replaying costs the host less than launching a kernel."""
    return captures.take(partial(carry, source, target, count, changes))[0].replay


def carry(source: Tensor, target: Tensor, count: int, changes: int = 0) -> None:
    """Copies the first `count` int64 numbers of `source` to `target`; either may be in pinned memory.

    The last `2 * changes` of them also change numbers behind these in `target`: the first half are their indices there,
    counted from `count` and negative for no change, the second half the new numbers.
    """
    programs = (-(-count // _BLOCK),)
    carry_numbers[programs](source, target, count, changes, BLOCK=_BLOCK, CHANGES=power(changes) if changes else 0)


@triton.jit
def carry_numbers(source, target, count, changes, BLOCK: tl.constexpr, CHANGES: tl.constexpr):
    """See `carry`. Loads are volatile, since the host may have written the memory after the last replay."""
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = places < count
    tl.store(target + places, tl.load(source + places, mask=there, volatile=True), mask=there)
    if CHANGES > 0 and tl.program_id(0) == 0:
        each = tl.arange(0, CHANGES)
        told = source + count - 2 * changes + each
        place = tl.load(told, mask=each < changes, other=-1, volatile=True)
        number = tl.load(told + changes, mask=place >= 0, volatile=True)
        tl.store(target + count + place, number, mask=place >= 0)
