"""Merges an adapter into the weights of a model, which is then as fast as the model without it."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from services.engine.adapters.adapter import Adapter
from services.engine.adapters.layers import require_every_layer
from services.engine.adapters.places import Place, Places, input_embeddings
from services.engine.adapters.sharing import Sharing
from services.engine.adapters.updates import Product, Updates, updates_of

Found = TypeVar("Found")


@torch.no_grad()
def merge(adapter: Adapter, model: PreTrainedModel) -> frozenset[str]:
    """Merges an adapter into weights of any float dtype: adds in float32 and rounds once.

    Returns the names of the model's weights that the adapter has replaced as a whole.

    Raises:
        ValueError: it was made for another model, or is damaged.
    """
    updates = updates_of(adapter.config, adapter.tensors())
    _resize_vocabulary(model, updates)
    merging = _Merging(adapter, updates, Places(model))
    replaced = frozenset(merging.replace(name, value) for name, value in updates.replaced.items())
    for layer, rows in updates.rows.items():
        merging.replace_rows(layer, rows)
    for product in merging.sharing.products:
        merging.add(product)
    require_every_layer(adapter.config, merging.changed, model, merging.made_for)
    return replaced


def _resize_vocabulary(model: PreTrainedModel, updates: Updates) -> None:
    """Resizes the embeddings for tokens that were added before training, if the adapter contains all embeddings."""
    embeddings = input_embeddings(model)
    if not isinstance(embeddings, nn.Embedding) or isinstance(embeddings.weight, DTensor):
        return
    (name,) = (name for name, module in model.named_modules() if module is embeddings)
    for given, value in updates.replaced.items():
        fits = f"{name}.weight".endswith(given) and value.shape[1:] == embeddings.weight.shape[1:]
        if fits and value.shape[0] not in (0, embeddings.num_embeddings):
            model.resize_token_embeddings(value.shape[0], mean_resizing=False)


class _Merging:
    def __init__(self, adapter: Adapter, updates: Updates, places: Places) -> None:
        self.made_for = f" It was made for {adapter.base}." if adapter.base else ""
        self._updates = updates
        self._places = places
        self.sharing = Sharing(updates, places)
        self.changed: set[str] = set()
        """Names of layers to which products were added."""

    def replace(self, name: str, value: Tensor) -> str:
        """Sets a weight that was trained as a whole, and returns its name in the model."""
        place = self._found(self._places.of(name), name)
        self._require(place, tuple(value.shape))
        saved = self._updates.config.get("modules_to_save") or ()
        if any(f".{module}." in f".{name}" for module in saved):
            place = self.sharing.replaced(place)
        place.put(value)
        return place.name

    def replace_rows(self, layer: str, rows: Tensor) -> None:
        """Sets the rows of the tokens that were trained, for all layers that share the weight."""
        place = self._found(self._places.of(f"{layer}.weight"), f"{layer}.weight")
        tokens = self._updates.tokens(layer)
        place = self.sharing.rows(layer, place)
        if len(tokens) != len(rows) or not all(0 <= token < place.shape[0] for token in tokens):
            told = f"{len(rows)} rows of {place.name}, which has {place.shape[0]}, for the tokens {tokens}"
            raise ValueError(f"it holds {told}.{self.made_for}")
        place.put_rows(tokens, rows)

    def add(self, product: Product) -> None:
        """Adds a product to the weight of a layer or of experts, and to the layer's bias."""
        place = None if product.depth else self._places.of(f"{product.module}.weight")
        if place is not None:
            self.changed.add(place.name.rpartition(".")[0])
            self._add_to_layer(product, place)
            return
        place, experts = self._parameter_of(product)
        if len(place.shape) == 3:
            self._add_to_experts(product, place, transposed=bool(getattr(experts, "is_transposed", False)))
        else:
            self._add_to_layer(product, place)

    def _add_to_layer(self, product: Product, place: Place) -> None:
        first, second = (_wide(factor, place).flatten(1) for factor in (product.first, product.second))
        rank = self._rank(first, second, place)
        leaf = place.name.rpartition(".")[2]
        scale = self._updates.scale(product.module, rank, leaf)
        change = second @ first * scale
        # Factors of a parameter that was selected by its name have its own layout.
        lies = self._updates.aims_at(f"{product.module}.{leaf}")
        if isinstance(self._places.layer(place), (Conv1D, nn.Embedding)) and not lies:
            change = change.T
        rows, *sizes = place.shape
        if change.shape == (rows, math.prod(sizes)):  # a convolution: each output's weights are one row
            change = change.reshape(place.shape)
        self._require(place, tuple(change.shape))
        self.sharing.added(place).add(change)
        if product.bias is not None:
            self._add_to_bias(product.module, product.bias, scale)

    def _add_to_bias(self, module: str, change: Tensor, scale: float) -> None:
        bias = self._places.of(f"{module}.bias")
        if bias is None:
            raise ValueError(
                f"it has a bias for {module} (lora_bias), which has none in the model, so that it cannot be merged. "
                "Train it without lora_bias."
            )
        self._require(bias, tuple(change.shape))
        bias.add(_wide(change, bias) * scale)

    def _add_to_experts(self, product: Product, place: Place, *, transposed: bool) -> None:
        first, second, experts = _wide(product.first, place), _wide(product.second, place), place.shape[0]
        trained = (first.shape[1], second.shape[0]) if transposed else (second.shape[0], first.shape[1])
        self._require(place, (experts, *trained))
        rank = self._rank(first, second, place, experts)
        first = first.view(experts, rank, -1)
        second = second.view(-1, rank, experts).permute(2, 0, 1)
        module, _, leaf = place.name.rpartition(".")
        change = second @ first * self._updates.scale(module, rank, leaf)
        place.add(change.transpose(1, 2) if transposed else change)

    def _parameter_of(self, product: Product) -> tuple[Place, nn.Module]:
        """Returns the parameter, not called `weight`, that a product is for, and its module."""
        own, module = self._found(self._places.module(product.module), product.module)
        aimed = [name for name, _ in module.named_parameters(recurse=False) if self._updates.aims_at(f"{own}.{name}")]
        # PEFT wraps a module once for each trained parameter, in their order, and names factors by the depth only.
        index = len(aimed) - 1 - product.depth
        name = f"{own}.{aimed[index]}" if index >= 0 else f"{product.module}.weight"
        return self._found(self._places.of(name), name), module

    def _found(self, found: Found | None, name: str) -> Found:
        if found is None:
            raise ValueError(f"it changes {name}, which the model does not have.{self.made_for}")
        return found

    def _require(self, place: Place, shape: tuple[int, ...]) -> None:
        if place.shape != shape:
            own, trained = ("×".join(map(str, each)) for each in (place.shape, shape))
            raise ValueError(f"{place.name} is {own} in the model, and it was trained for {trained}.{self.made_for}")

    @staticmethod
    def _rank(first: Tensor, second: Tensor, place: Place, experts: int = 1) -> int:
        rank = first.shape[0] // experts
        if not rank or first.shape[0] != second.shape[1] or first.shape[0] % experts:
            raise ValueError(
                f"its factors of {place.name} are of ranks {first.shape[0]} and {second.shape[1]}: it is damaged."
            )
        return rank


def _wide(factor: Tensor, place: Place) -> Tensor:
    return factor.to(device=place.whole.device, dtype=torch.float32)
