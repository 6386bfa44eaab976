"""Adapters (LoRA) within decoder layers of the native library, so that rows with and without adapters share a step."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from services.engine.adapters.beside import AdaptersBeside, ChangedLayer
from services.engine.fusion.decoder import FusedDecoderLayer
from services.engine.fusion.low_ranks import LowRanks
from services.engine.native.arena import Arena
from services.engine.native.library import UNIT, Library
from services.engine.native.linear import NativeLinear

log = logging.getLogger(__name__)


def prepare(adapters: AdaptersBeside, model: nn.Module, library: Library) -> None:
    """Lets fused decoder layers add the products of adapters, if adapters change no other layers.

    If they do, or if this fails, a step runs rows with adapters in a second forward, with factors packed for the
    library.
    """
    try:
        adapters.grouped = _joined(adapters, model, library)
    except Exception as error:  # most likely out of memory
        log.warning("rows with adapters run in a second forward, as their factors could not be joined: %s", error)
    if adapters.grouped:
        return
    try:
        adapters.pack(library)
    except Exception as error:
        log.warning("torch computes the products of adapters, as their factors could not be packed: %s", error)


@torch.inference_mode(False)
@torch.no_grad()
def _joined(adapters: AdaptersBeside, model: nn.Module, library: Library) -> bool:
    """Packs all factors for the fused layers, and returns whether the layers add all that the adapters change.

    Products outside of fused layers use the packed factors too, so that memory holds them once. Layers are packed one
    after another, so that few are there twice meanwhile.
    """
    layers = [module for module in model.modules() if isinstance(module, FusedDecoderLayer)]
    changed = {layer.module: layer for layer in adapters.layers.values()}
    products = [product for layer in layers for product in layer.linears if product.lines]
    if outside := changed.keys() - {linear for product in products for linear in product.layers}:
        log.info("rows with adapters run in a second forward: %d layers that they change are not fused", len(outside))
        return False
    arena, byte_count = Arena(), 0
    for layer in layers:
        low_ranks = LowRanks(len(adapters.named))
        for place, product in enumerate(layer.linears):
            own = [changed.get(linear) for linear in product.layers]
            for name, number in adapters.numbers.items():
                if any(one and name in one.products for one in own):
                    low_ranks.put(number, place, *_stacked(name, own, product, library, arena))
        layer.adapt(low_ranks)
        byte_count += low_ranks.byte_count
    adapters.byte_count = byte_count
    log.info("rows with adapters share steps with others; their factors take %.1f MiB", byte_count / 2**20)
    return True


def _stacked(
    name: str, layers: Sequence[ChangedLayer | None], product: NativeLinear, library: Library, arena: Arena
) -> tuple[NativeLinear, NativeLinear, list[int]]:
    """Returns an adapter's factors for all layers of one product, with ranks padded to be equal; see LowRanks.put.

    The layers' own products of this adapter use these factors too from now on.
    """
    own = {part: layer for part, layer in enumerate(layers) if layer and name in layer.products}
    pairs = {part: layer.factors(name) for part, layer in own.items()}
    rank = max(len(first) for first, _ in pairs.values())
    rank += rank % 2  # the library reads two 16-bit numbers at a time
    firsts = {part: _linear(_filled(first, rank, dim=0)) for part, (first, _) in pairs.items()}
    seconds = [_linear(torch.zeros(width, rank, dtype=product.dtype)) for width in product.widths]
    for part, layer in own.items():
        seconds[part].weight.copy_(_filled(pairs[part][1], rank, dim=1))
        layer.products[name] = firsts[part], seconds[part]
    units = rank * product.dtype.itemsize // UNIT
    begins = [units * [*own].index(part) if part in own else 0 for part in range(len(layers))]
    first = NativeLinear(library, [*firsts.values()], arena)
    second = NativeLinear(library, seconds, arena, product.gate)
    return first, second, [begins[part] for part in second.lines]


def _filled(factor: Tensor, rank: int, dim: int) -> Tensor:
    """Returns a factor whose ranks, along `dim`, are padded with zeros to `rank`."""
    size = list(factor.shape)
    size[dim] = rank - size[dim]
    return torch.cat([factor, factor.new_zeros(size)], dim)


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear
