"""Who computes products of a few rows on this GPU: torch, or a kernel of our own where that is faster."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from services.engine.device.capture import Captures
from services.engine.fusion.triton.few_rows import FewRows
from services.engine.fusion.triton.linear import GpuLinear

log = logging.getLogger(__name__)

Timer = Callable[[Callable[[], object]], Callable[[], float]]
"""Makes of work what tells, each time it is called, how long it takes the GPU, in seconds."""

RACED = (16, 32)
"""Rows of the tiles that run. Of more rows torch's product has enough to do."""
_GAPS = 1e-6
"""Seconds that a product of torch's costs a step besides: it begins when the kernel in front of it has ended, and the
one behind it likewise, where ours and their neighbours overlap. Measured on an H200, in a step of 32 rows."""
_TURNS, _ROUNDS = 3, 5
_ERROR = 1e-2
"""By which both products may differ, of their norm: they are rounded to 16 bits."""


@torch.inference_mode()
def race(model: nn.Module, timer: Timer | None = None) -> None:
    """Lets linear layers with weights of 16 bits use a kernel for as many rows as it is faster for than torch.

    Layers of the same shape are measured together, one behind the other as in a step, so that no weight is found in a
    cache unless the model fits it. Where a kernel fails, or computes something else, torch's product stays.
    """
    alike: defaultdict[tuple[int, int, torch.dtype, bool], list[GpuLinear]] = defaultdict(list)
    for module in model.modules():
        if type(module) is GpuLinear and module.weight.dtype in (torch.bfloat16, torch.float16):
            alike[module.out_features, module.in_features, module.weight.dtype, module.bias is not None].append(module)
    for (units, width, *_), linears in alike.items():
        timer = timer or partial(recording, Captures(linears[0].weight.device))
        try:
            won = [size for size in RACED if _wins(linears, size, timer)]
        except Exception as error:  # a compiler raises anything
            log.warning("products of %d by %d are torch's own, as a kernel failed: %s", units, width, error)
            continue
        log.info("products of %d by %d have a kernel for tiles of %s rows", units, width, won or "no")
        for linear in linears if won else ():
            linear.few_rows = FewRows(linear.weight, None, linear.bias, won)


def _wins(linears: Sequence[GpuLinear], size: int, timer: Timer) -> bool:
    kernels = [FewRows(linear.weight, None, linear.bias, (size,)) for linear in linears]
    rows = torch.randn(size, linears[0].in_features, device=linears[0].weight.device).to(linears[0].weight.dtype)
    if not _agree(linears[0].of_many(rows), kernels[0](rows)):
        raise ValueError("it computes something else")
    theirs = timer(lambda: [linear.of_many(rows) for linear in linears])
    ours = timer(lambda: [kernel(rows) for kernel in kernels])
    times = [(ours(), theirs()) for _ in range(_TURNS)]  # in turns: a GPU's pace changes
    return min(time for time, _ in times) < min(time for _, time in times) + _GAPS * len(linears)


def _agree(own: Tensor, found: Tensor) -> bool:
    return bool((own.float() - found.float()).norm() <= _ERROR * own.float().norm())


def recording(captures: Captures, work: Callable[[], object]) -> Callable[[], float]:
    """Returns what tells the least time of some rounds of a recording: launching kernels one by one takes longer."""
    graph, _ = captures.take(work)
    return lambda: min(_replay_seconds(graph) for _ in range(_ROUNDS))


def _replay_seconds(graph: torch.cuda.CUDAGraph) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000
