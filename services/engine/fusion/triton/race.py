"""Decides by timing on this GPU whether torch or a kernel of our own computes products of a few rows, and with which
tile.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from services.engine.device.capture import Captures
from services.engine.device.race import Clock, entered, fastest, least, replay_seconds
from services.engine.fusion.triton.few_rows import FewRows, Tile, processors_of, wide_tile_for, wide_tiles_for
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp

log = logging.getLogger(__name__)

Timer = Callable[[Callable[[], object]], Clock]

RACED = (16, 32)
"""Rows of the tiles that are timed. With more rows torch's products are efficient."""
_GAPS = 1e-6
"""Seconds that a product of torch costs beyond its own time, since it does not overlap with its neighbours as our
kernels do.

Measured on an H200 in a decode step of 32 rows.
"""
_GAIN = 0.01
"""Share of the time that another tile has to save to be chosen."""
_SECONDS = 20.0
"""No further tiles are compiled after this time."""
_FOR_GATES = 0.25
"""Share of `_SECONDS` that gates get in any case: with the gate outside of the product a step of 32 rows takes 2 %
longer.
"""
_ERROR = 1e-2
"""Allowed error relative to the norm of the product: both are rounded to 16 bits."""


@torch.inference_mode()
def race(model: nn.Module, timer: Timer | None = None, seconds: float = _SECONDS) -> None:
    """Times products of a few rows with 16-bit weights, and lets linear layers use a kernel where it is faster than
    torch.

    Layers of equal shape are timed together, one after the other as in a step: so weights come from memory, not from a
    cache, unless all fit it. The tile of `wide_tile_for` is always tried, others for up to `seconds`. If the kernel
    fails or gives other results, torch's product stays.
    """
    until = time.monotonic() + seconds
    alike: defaultdict[tuple[int, int, torch.dtype, bool], list[GpuLinear]] = defaultdict(list)
    for module in model.modules():
        if isinstance(module, GpuLinear) and _is_wide(module):
            alike[_shape(module)].append(module)
    for (units, width, *_), linears in alike.items():
        timer = timer or partial(recording, Captures(linears[0].weight.device))
        try:
            raced = {size: _winner(linears, size, timer, until) for size in RACED}
        except Exception as error:  # a compiler raises anything
            log.warning("torch computes products of %d by %d, as a kernel failed: %s", units, width, error)
            continue
        won = {size: tile for size, tile in raced.items() if tile is not None}
        log.info("products of %d by %d use a kernel with %s", units, width, [*won.values()] or "no tile")
        for linear in linears if won else ():
            linear.few_rows = FewRows(linear.weight, None, linear.bias, won)
    _race_gates(model, timer, max(until, time.monotonic() + _FOR_GATES * seconds))


def _winner(linears: Sequence[GpuLinear], size: int, timer: Timer, until: float) -> Tile | None:
    """Returns the fastest tile if the kernel with it beats torch's product, else None."""
    rows = torch.randn(size, linears[0].in_features, device=linears[0].weight.device).to(linears[0].weight.dtype)
    exact = linears[0].of_many(rows)

    def enter(tile: Tile) -> Clock:
        kernels = [FewRows(linear.weight, None, linear.bias, {size: tile}) for linear in linears]
        if not _agree(exact, kernels[0](rows)):
            raise ValueError("it computes something else")
        return timer(lambda: [kernel(rows) for kernel in kernels])

    theirs = timer(lambda: [linear.of_many(rows) for linear in linears])
    units, width = linears[0].weight.shape
    own, *others = wide_tiles_for(size, units, width, processors_of(rows.device))
    times = least({None: theirs, own: enter(own)} | entered(others, enter, until))
    limit = times.pop(None) + _GAPS * len(linears)
    best = fastest(times, own, _GAIN)
    return best if times[best] < limit else None


def _race_gates(model: nn.Module, timer: Timer | None, until: float) -> None:
    """Lets gated layers with 16-bit weights compute the gate in the kernel of the product where that is faster.

    It uses the tile that was chosen for the product.
    """
    alike: defaultdict[tuple[int, int, torch.dtype, bool, int], list[GpuMlp]] = defaultdict(list)
    for module in model.modules():
        if isinstance(module, GpuMlp) and _is_wide(pair := module.pair) and pair.exchange is None:
            alike[*_shape(pair), int(module.activation)].append(module)
    for (units, width, *_), layers in alike.items():
        timer = timer or partial(recording, Captures(layers[0].pair.weight.device))
        try:
            won = {size: tile for size in RACED if (tile := _gated_tile(layers, size, timer, until)) is not None}
        except Exception as error:  # a compiler raises anything
            log.warning("gates of %d by %d stay outside of their products: %s", units // 2, width, error)
            continue
        log.info("gates of %d by %d are in the kernel of products of %s rows", units // 2, width, [*won] or "no")
        for layer in layers if won else ():
            layer.few_rows = FewRows(layer.pair.weight, None, layer.pair.bias, won)


def _gated_tile(layers: Sequence[GpuMlp], size: int, timer: Timer, until: float) -> Tile | None:
    """Returns the tile of the product if a kernel with the gate in it beats the product and a kernel behind it, else
    None.
    """
    pair = layers[0].pair
    rows = torch.randn(size, pair.in_features, device=pair.weight.device).to(pair.weight.dtype)
    exact = layers[0].gated(rows)
    chosen = pair.few_rows.tiles.get(size) if pair.few_rows else None
    tile = chosen or wide_tile_for(size, pair.out_features, pair.in_features, processors_of(rows.device))

    def enter(tile: Tile) -> Clock:
        kernels = [FewRows(layer.pair.weight, None, layer.pair.bias, {size: tile}) for layer in layers]
        if not _agree(exact, kernels[0](rows, gate=layers[0].activation)):
            raise ValueError("it computes something else")
        return timer(lambda: [kernel(rows, gate=layers[0].activation) for kernel in kernels])

    apart = timer(lambda: [layer.gated(rows) for layer in layers])
    times = least({None: apart} | entered([tile], enter, until))
    return fastest(times, None, 0.0)


def _is_wide(linear: nn.Module) -> bool:
    return type(linear) is GpuLinear and linear.weight.dtype in (torch.bfloat16, torch.float16)


def _shape(linear: GpuLinear) -> tuple[int, int, torch.dtype, bool]:
    return linear.out_features, linear.in_features, linear.weight.dtype, linear.bias is not None


def _agree(own: Tensor, found: Tensor) -> bool:
    return bool((own.float() - found.float()).norm() <= _ERROR * own.float().norm())


def recording(captures: Captures, work: Callable[[], object]) -> Clock:
    """Records `work` as a CUDA graph, and returns a clock that times its replay."""
    return partial(replay_seconds, captures.take(work)[0])
