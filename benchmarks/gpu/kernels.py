"""Times of a step's kernels as the profiler measured them, summed up over all layers."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean

import torch
from rich.table import Table
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.ceilings import Ceilings
from benchmarks.gpu.portions import Portion, Portions
from benchmarks.tables import table_of

log = logging.getLogger(__name__)

Span = tuple[float, float, str]
"""Begin, end and name of a kernel, in microseconds."""

_STEPS = 8
_LONGEST_NAME = 60
_PRODUCT = re.compile(r"multiply_rows?\b|gemm|gemv|nvjet|cutlass|xmma", re.IGNORECASE)
_NO_PRODUCT = re.compile("reduce", re.IGNORECASE)


@dataclass(frozen=True)
class KernelTime:
    """A kernel that every layer launches at the same place; or all kernels of one name outside of the layers."""

    part: str
    """What it computes, if known."""
    name: str
    calls: int
    """In a step."""
    each: float
    """Mean microseconds from begin to end."""
    behind: float
    """Mean microseconds from the end of the previous kernel to its own end. Over all kernels the sum is the step."""
    allowed: float
    """Microseconds of its roofline; 0 if not known."""


def kernels_of(run: Callable[[], object], layers: int, portions: Portions, ceilings: Ceilings) -> list[KernelTime]:
    """Returns the kernels of the step that `run` launches; empty if the profiler sees no kernels."""
    return kernel_times(spans_of(run), layers, portions, ceilings)


def spans_of(run: Callable[[], object]) -> list[list[Span]]:
    """Returns the kernels of some steps; empty if the profiler does not see equally many in each."""
    run()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in range(_STEPS):
            run()
        torch.cuda.synchronize()
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in seen.events() or []
        if event.device_type == DeviceType.CUDA
    )
    count = len(spans) // _STEPS
    if not spans or len(spans) != count * _STEPS:
        log.warning("The profiler saw %d kernels in %d steps that are alike", len(spans), _STEPS)
        return []
    return [spans[i : i + count] for i in range(0, len(spans), count)]


def kernel_times(steps: list[list[Span]], layers: int, portions: Portions, ceilings: Ceilings) -> list[KernelTime]:
    """Returns the mean times of equal steps. The first step only serves as the predecessor of the second."""
    if len(steps) < 2:
        return []
    names = [name for _, _, name in steps[0]]
    each = [fmean(step[i][1] - step[i][0] for step in steps[1:]) for i in range(len(names))]
    behind = [fmean(own[i] for own in map(_behind, steps, steps[1:])) for i in range(len(names))]
    found: list[KernelTime] = []
    for places, portion in _grouped(names, layers, portions):
        allowed = ceilings.seconds(portion.moved, portion.flops) * 1e6 if portion else 0.0
        found.append(
            KernelTime(
                portion.name if portion else "",
                names[places[0]],
                len(places),
                fmean(each[i] for i in places),
                fmean(behind[i] for i in places),
                allowed,
            )
        )
    return found


def _behind(before: list[Span], step: list[Span]) -> list[float]:
    until, found = max(end for _, end, _ in before), list[float]()
    for _, end, _ in step:
        found.append(max(end - until, 0.0))
        until = max(until, end)
    return found


def _grouped(names: list[str], layers: int, portions: Portions) -> Iterator[tuple[list[int], Portion | None]]:
    """Yields indices of kernels that belong together, with their least work if known."""
    start, length = _layers(names, layers)
    known = _known(names[start : start + length], portions)
    for place in range(length):
        yield list(range(start + place, start + layers * length, length)), known.get(place)
    outside = [*range(start), *range(start + layers * length, len(names))]
    products = [i for i in outside if _is_product(names[i])]
    by_name: dict[tuple[str, bool], list[int]] = {}
    for i in outside:
        by_name.setdefault((names[i], i in products[-1:]), []).append(i)
    for (_, is_head), places in by_name.items():
        yield places, portions.head if is_head and length else None


def _layers(names: list[str], layers: int) -> tuple[int, int]:
    """Returns where the first layer begins and how many kernels each layer has; zeros if layers differ."""
    for length in range(1, len(names) // layers + 1) if layers > 1 else ():
        alike = [a == b for a, b in zip(names, names[length:], strict=False)]
        needed = (layers - 1) * length
        for start in range(len(alike) - needed + 1):
            if all(alike[start : start + needed]):
                return start, length
    return 0, 0


def _known(names: list[str], portions: Portions) -> dict[int, Portion]:
    """Returns the portions of a layer's kernels by index."""
    products = [i for i, name in enumerate(names) if _is_product(name)]
    experts = [i for i, name in enumerate(names) if "multiply_chosen" in name]
    attention = [i for i, name in enumerate(names) if "attend_" in name][-1:]
    pairs = [(products, portions.products), (experts, portions.experts), (attention, [portions.attention])]
    return {
        place: portion
        for places, known in pairs
        if len(places) == len(known)
        for place, portion in zip(places, known, strict=True)
    }


def _is_product(name: str) -> bool:
    return bool(_PRODUCT.search(name)) and not _NO_PRODUCT.search(name)


def table_of_kernels(kernels: list[KernelTime], title: str) -> Table:
    """Returns a table in the order of the kernels."""
    table = table_of("kernel", "of", "calls", "us each", "behind", "of the step", "allowed", "of it", title=title)
    step = sum(one.calls * one.behind for one in kernels)
    for one in kernels:
        told = (f"{one.allowed:.1f}", f"{one.allowed / one.behind:.0%}") if one.allowed and one.behind else ("", "")
        share = one.calls * one.behind / step if step else 0.0
        table.add_row(
            one.name[:_LONGEST_NAME], one.part, str(one.calls), f"{one.each:.1f}", f"{one.behind:.1f}",
            f"{share:.1%}", *told,
        )  # fmt: skip
    return table
