"""Finds the weights of a model that an adapter changes, by their names in the model that was trained."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
    rename_source_key,
)
from transformers.distributed.sharding_utils import DtensorShardOperation

_EXPERT = re.compile(r"\.(\d+)\.\w+\.weight$")


@dataclass(frozen=True)
class Place:
    """A weight, or a part of one, that an adapter changes."""

    name: str
    """In the model as it is loaded here."""
    whole: Tensor
    part: tuple[int | slice, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape over all tensor parallel ranks."""
        return tuple(self.whole[self.part].shape) if self.part else tuple(self.whole.shape)

    def add(self, change: Tensor) -> None:
        """Adds a float32 tensor of this shape, and rounds once.

        Raises:
            ValueError: the result is not finite, or only a part of a tensor parallel weight would change.
        """
        self._put(change, adds=True)

    def put(self, value: Tensor) -> None:
        """Sets the weight to a tensor of this shape. Raises as `add` does."""
        self._put(value, adds=False)

    def put_rows(self, rows: list[int], values: Tensor) -> None:
        """Sets some rows of a weight. The place must be a whole weight."""
        whole = self.whole.full_tensor() if isinstance(self.whole, DTensor) else self.whole
        self.put(whole.index_copy(0, torch.tensor(rows, device=whole.device), values.to(whole)))

    def _put(self, value: Tensor, *, adds: bool) -> None:
        if isinstance(self.whole, DTensor):
            if self.part:
                raise ValueError(f"{self.name} is divided among GPUs, and it changes a part of that. Serve it on one.")
            value = DtensorShardOperation(self.whole).shard_tensor(value)  # type: ignore[assignment]
            own = self.whole.to_local()
        else:
            own = self.whole[self.part] if self.part else self.whole
        own.copy_(value + own if adds else value)
        if not own.isfinite().all():
            raise ValueError(
                f"with it {self.name} is not finite in {own.dtype}: it is damaged, or needs a wider --dtype."
            )


class Places:
    """The weights of one model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._weights: dict[str, Tensor] = model.state_dict(keep_vars=True)

    def of(self, name: str) -> Place | None:
        """Returns the place of a weight by its name in the trained model, or None if the model has no such weight.

        Raises:
            ValueError: the loaded model combines it with others in an unsupported way.
        """
        if name in self._weights:
            return Place(name, self._weights[name])
        renamings, converters = self._mapping
        own, pattern = rename_source_key(name, renamings, converters, self._model.base_model_prefix, self._weights)
        if own not in self._weights:
            return None
        if pattern is None:
            return Place(own, self._weights[own])
        converter = next(each for each in converters if pattern in each.source_patterns)
        return Place(own, self._weights[own], _part(converter, pattern, name, self._weights[own]))

    def module(self, name: str) -> tuple[str, nn.Module] | None:
        """Returns a module and its name in the loaded model, found with or without the base model's prefix, or None."""
        modules, prefix = dict(self._model.named_modules()), f"{self._model.base_model_prefix}."
        for own in (name, prefix + name, name.removeprefix(prefix)):
            if own in modules:
                return own, modules[own]
        return None

    def layer(self, place: Place) -> nn.Module:
        """Returns the module that owns the weight."""
        return self._model.get_submodule(place.name.rpartition(".")[0])

    def embed(self, place: Place) -> bool:
        """Returns whether this is a weight of the model's input embeddings, not of a layer that shares it."""
        return self.layer(place) is input_embeddings(self._model)

    def own(self, place: Place) -> Place:
        """Unties a weight that several layers share, and returns the place of this layer's own copy."""
        sharing = [name for name, weight in self._weights.items() if weight is place.whole]
        if len(sharing) < 2:
            return place
        weight = nn.Parameter(place.whole.detach().clone(), requires_grad=False)
        setattr(self.layer(place), place.name.rpartition(".")[2], weight)
        self._weights[place.name] = weight
        for config in (self._model.config, self._model.config.get_text_config()):
            config.tie_word_embeddings = False
        return Place(place.name, weight, place.part)

    @cached_property
    def _mapping(self) -> tuple[list[WeightRenaming], list[WeightConverter]]:
        """How transformers converts names and weights of checkpoints into those of the model."""
        found: list[Any] = get_model_conversion_mapping(self._model)
        renamings = [each for each in found if isinstance(each, WeightRenaming)]
        return renamings, [each for each in found if isinstance(each, WeightConverter)]


def _part(converter: WeightConverter, pattern: str, name: str, whole: Tensor) -> tuple[int | slice, ...]:
    """Returns the index of the part of a combined weight that a checkpoint's weight became, such as one expert's
    product.
    """
    steps = [(type(step), getattr(step, "dim", None)) for step in converter.operations]
    expert, count = _EXPERT.search(name), len(converter.source_patterns)
    if steps == [(Concatenate, 0)] and count == 2:
        width, part = whole.shape[0] // count, ()
    elif expert and steps == [(MergeModulelist, 0)]:
        return (int(expert[1]),)
    elif expert and steps == [(MergeModulelist, 0), (Concatenate, 1)]:
        width, part = whole.shape[1] // count, (int(expert[1]),)
    else:
        raise ValueError(
            f"{name} lies in one weight with others here, in a way that it cannot be merged into. Merge it by PEFT's "
            "merge_and_unload, save the whole model, and serve that."
        )
    first = converter.source_patterns.index(pattern) * width
    return (*part, slice(first, first + width))


def input_embeddings(model: PreTrainedModel) -> nn.Module | None:
    """Returns the embeddings of token ids; None for models of sound or images, which have none."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None
