"""The low-rank factors that an adapter beside a model adds to linear layers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from services.engine.adapters.adapter import Adapter
from services.engine.adapters.layers import require_every_layer
from services.engine.adapters.places import Places
from services.engine.adapters.updates import Product, Updates, updates_of

MERGE = "Serve it by itself: --adapter merges it into the model."


@dataclass(frozen=True)
class Pair:
    """The factors of one layer, in its dtype and on its device. The second includes the scale."""

    first: Tensor
    """`[rank, in]`."""
    second: Tensor
    """`[out, rank]`."""


@torch.no_grad()
def pairs_of(adapter: Adapter, model: PreTrainedModel) -> dict[str, Pair]:
    """Returns the factors of an adapter by the model's layer names.

    Raises:
        ValueError: it was made for another model, is damaged, or changes more than linear layers.
    """
    updates = updates_of(adapter.config, adapter.tensors())
    if replaced := [*updates.replaced, *updates.rows]:
        raise ValueError(f"it brings {min(replaced)} whole, and only factors can stay beside a model. {MERGE}")
    places, made_for = Places(model), f" It was made for {adapter.base}." if adapter.base else ""
    pairs: dict[str, Pair] = {}
    for product in updates.products:
        name, layer = _layer(product, model, places, made_for)
        pairs[name] = _pair(product, updates, name, layer, made_for)
    require_every_layer(adapter.config, pairs, model, made_for)
    return pairs


def _layer(product: Product, model: PreTrainedModel, places: Places, made_for: str) -> tuple[str, nn.Module]:
    """Returns the name and the layer that a product is for. Raises ValueError if it is not a linear layer of the
    decoder.
    """
    place = None if product.depth else places.of(f"{product.module}.weight")
    if place is None and not product.depth and places.module(product.module) is None:
        raise ValueError(f"it changes {product.module}, which the model does not have.{made_for}")
    layer = None if place is None or place.part else places.layer(place)
    if not isinstance(layer, (nn.Linear, Conv1D)) or layer is model.get_output_embeddings():
        raise ValueError(f"it changes {product.module}, which is no linear layer of attention or behind it. {MERGE}")
    if product.bias is not None:
        raise ValueError(f"it changes the bias of {product.module}. {MERGE}")
    assert place is not None
    return place.name.rpartition(".")[0], layer


def _pair(product: Product, updates: Updates, name: str, layer: nn.Module, made_for: str) -> Pair:
    weight: Any = layer.weight
    out, into = weight.shape if isinstance(layer, nn.Linear) else reversed(weight.shape)
    first, second = product.first.float(), product.second.float()
    rank = first.shape[0]
    if isinstance(layer, Conv1D) and updates.aims_at(f"{product.module}.weight"):
        first, second = second.T, first.T  # of the weight as it lies, which is transposed
    if not rank or (tuple(first.shape), tuple(second.shape)) != ((rank, into), (out, rank)):
        told = f"{'×'.join(map(str, first.shape))} and {'×'.join(map(str, second.shape))}"
        raise ValueError(f"its factors of {name}, which is {out}×{into}, are {told}.{made_for}")
    # A copy: safetensors maps the file into memory, and training may overwrite it.
    pair = Pair(first.to(weight, copy=True), (second * updates.scale(product.module, rank)).to(weight))
    if not (pair.first.isfinite().all() and pair.second.isfinite().all()):
        raise ValueError(
            f"its factors of {name} are not finite in {weight.dtype}: it is damaged, or needs a wider --dtype."
        )
    return pair
