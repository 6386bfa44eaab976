"""Adapters (LoRA) within the layers of a model on a GPU, so that rows with and without adapters share steps."""

import logging
from collections.abc import Sequence

import torch
from torch import nn

from services.engine.adapters.beside import AdaptersBeside, ChangedLayer
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.low_rank import LowRank

log = logging.getLogger(__name__)


@torch.inference_mode(False)
@torch.no_grad()
def join(adapters: AdaptersBeside, model: nn.Module) -> None:
    """Lets the layers of a model add the products of adapters, if all changed layers can.

    If one cannot, a step runs rows with adapters in a second forward. Factors are in memory once: those for a second
    forward become views of the joined ones.
    """
    changed = {layer.module: layer for layer in adapters.layers.values()}
    there, made = {*model.modules()}, list[LowRank]()
    try:
        for linear in [module for module in there if isinstance(module, GpuLinear)]:
            own = [changed.pop(layer, None) for layer in linear.layers]
            if any(own):
                linear.low_rank = _stacked(adapters, own, [layer.out_features for layer in linear.layers])
                made.append(linear.low_rank)
        for module, layer in changed.items():
            if module not in there:
                raise ValueError(f"a {type(module).__name__} was replaced by a module that does not support adapters")
            alone = _stacked(adapters, [layer], [_factors(layer)[0][1].out_features])
            layer.add_picked = alone.add
            made.append(alone)
    except Exception as reason:  # a layer that no kernel takes, or no memory for the padding of ranks
        log.warning("Rows with adapters run in a second forward of each step: %s", reason)
        return
    adapters.joined = True
    size = sum(one.first.nbytes + one.second.nbytes for one in made) / 2**20
    log.info("rows with and without adapters share steps; padded to equal ranks, the factors take %.1f MiB", size)


def _stacked(adapters: AdaptersBeside, layers: Sequence[ChangedLayer | None], units: list[int]) -> LowRank:
    """Returns the adapters' factors for layers whose products are merged; unchanged layers are None."""
    known = [(part, layer, pair) for part, layer in enumerate(layers) if layer for pair in _factors(layer)]
    like = known[0][2][0]
    rank = max(first.out_features for _, _, (first, _) in known)
    stack = LowRank(adapters.picked, len(adapters.named), like.in_features, units, rank, like.weight)
    for part, layer in enumerate(layers):
        for (name, _), pair in zip(layer.products.items(), _factors(layer), strict=True) if layer else ():
            room = stack.room(adapters.numbers[name], part, pair[0].out_features)
            for place, product in zip(room, pair, strict=True):
                place.copy_(product.weight)
                product.weight = nn.Parameter(place, requires_grad=False)
    return stack


def _factors(layer: ChangedLayer) -> list[tuple[nn.Linear, nn.Linear]]:
    """Returns the pair of factors of each adapter that changes a layer.

    Raises:
        ValueError: a factor is not an nn.Linear.
    """
    pairs = [pair for pair in layer.products.values() if all(isinstance(product, nn.Linear) for product in pair)]
    if len(pairs) < len(layer.products):
        raise ValueError("its factors are packed for the native library")
    return pairs  # type: ignore[return-value]
