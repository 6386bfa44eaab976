"""The kernel that carries a step's numbers between pinned memory and the GPU's.

A copy is done by an engine of its own, and a GPU takes some microseconds to go over from a kernel to a copy and back
again, which a step does twice. A kernel reads and writes pinned memory over the bus, and another follows it at once.
"""

# ruff: noqa: N803 - constants of a kernel are written in capitals
# Kernels are launched with other arguments than they are written with.
# pyright: reportCallIssue=false, reportArgumentType=false
from collections.abc import Callable
from functools import partial

import triton
import triton.language as tl
from torch import Tensor

from services.engine.device.capture import Captures
from services.engine.fusion.triton.launch import power

_BLOCK = 1024


def carried(captures: Captures, source: Tensor, target: Tensor, count: int, changes: int = 0) -> Callable[[], object]:
    """Returns what does `carry` when it is called: a recording, since launching a kernel anew takes the host longer."""
    return captures.take(partial(carry, source, target, count, changes))[0].replay


def carry(source: Tensor, target: Tensor, count: int, changes: int = 0) -> None:
    """Writes the first `count` int64 numbers of one to the other; either may lie in pinned memory.

    The last of them may tell of so many `changes` to what is behind them in the target: first their places there, which
    are negative where nothing changes, and then the numbers.
    """
    programs = (-(-count // _BLOCK),)
    carry_numbers[programs](source, target, count, changes, BLOCK=_BLOCK, CHANGES=power(changes) if changes else 0)


@triton.jit
def carry_numbers(source, target, count, changes, BLOCK: tl.constexpr, CHANGES: tl.constexpr):
    """See `carry`. What a program reads it reads anew each time, as the host may have written it."""
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = places < count
    tl.store(target + places, tl.load(source + places, mask=there, volatile=True), mask=there)
    if CHANGES > 0 and tl.program_id(0) == 0:
        each = tl.arange(0, CHANGES)
        told = source + count - 2 * changes + each
        place = tl.load(told, mask=each < changes, other=-1, volatile=True)
        number = tl.load(told + changes, mask=place >= 0, volatile=True)
        tl.store(target + count + place, number, mask=place >= 0)
