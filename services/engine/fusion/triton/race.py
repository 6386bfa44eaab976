"""Who computes products of a few rows on this GPU: torch, or a kernel of our own where that is faster."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from services.engine.fusion.triton.few_rows import FewRows
from services.engine.fusion.triton.linear import GpuLinear

log = logging.getLogger(__name__)

Timed = Callable[[Callable[[], object]], float]
"""Returns how long work takes the GPU, in seconds."""

RACED = (16, 32)
"""Rows of the tiles that run. Of more rows torch's product has enough to do."""
_GAIN = 0.97
"""Of torch's time, what a kernel may take at most to be used."""
_TURNS, _ROUNDS = 3, 5
_ERROR = 1e-2
"""By which both products may differ, of their norm: they are rounded to 16 bits."""


@torch.inference_mode()
def race(model: nn.Module, timed: Timed | None = None) -> None:
    """Lets linear layers with weights of 16 bits use a kernel for as many rows as it is faster for than torch.

    Layers of the same shape are measured together, one behind the other as in a step, so that no weight is found in a
    cache unless the model fits it. Where a kernel fails, or computes something else, torch's product stays.
    """
    alike: defaultdict[tuple[int, int, torch.dtype, bool], list[GpuLinear]] = defaultdict(list)
    for module in model.modules():
        if type(module) is GpuLinear and module.weight.dtype in (torch.bfloat16, torch.float16):
            alike[module.out_features, module.in_features, module.weight.dtype, module.bias is not None].append(module)
    for (units, width, *_), linears in alike.items():
        try:
            won = [size for size in RACED if _wins(linears, size, timed or recorded_seconds)]
        except Exception as error:  # a compiler raises anything
            log.warning("products of %d by %d are torch's own, as a kernel failed: %s", units, width, error)
            continue
        log.info("products of %d by %d have a kernel for tiles of %s rows", units, width, won or "no")
        for linear in linears if won else ():
            linear.few_rows = FewRows(linear.weight, None, linear.bias, won)


def _wins(linears: Sequence[GpuLinear], size: int, timed: Timed) -> bool:
    kernels = [FewRows(linear.weight, None, linear.bias, (size,)) for linear in linears]
    rows = torch.randn(size, linears[0].in_features, device=linears[0].weight.device).to(linears[0].weight.dtype)
    if not _agree(linears[0].of_many(rows), kernels[0](rows)):
        raise ValueError("it computes something else")
    theirs, ours = float("inf"), float("inf")
    for _ in range(_TURNS):
        theirs = min(theirs, timed(lambda: [linear.of_many(rows) for linear in linears]))
        ours = min(ours, timed(lambda: [kernel(rows) for kernel in kernels]))
    return ours < _GAIN * theirs


def _agree(own: Tensor, found: Tensor) -> bool:
    return bool((own.float() - found.float()).norm() <= _ERROR * own.float().norm())


def recorded_seconds(work: Callable[[], object]) -> float:
    """Returns the least time of some rounds of a recording: to launch kernels one by one would take longer."""
    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    times: list[float] = []
    for _ in range(_ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return min(times)
