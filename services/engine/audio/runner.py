"""Takes batches of recordings through a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from services.engine.audio.loading import LoadedAudioModel
from services.engine.batching.job import Item

Compute = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""Takes inputs side by side through the model. Returns what is wanted of its outputs, a row for each item."""


class AudioRunner:
    """A BatchRunner over items whose inputs have `tensors` as AudioInputs has them.

    Its output for an item is a dict of tensors on the CPU, floating-point numbers in float32.
    """

    def __init__(self, loaded: LoadedAudioModel, compute: Compute) -> None:
        self._device = loaded.device
        self._dtype = loaded.model.dtype
        self._padding: float = getattr(loaded.extractor, "padding_value", 0.0)
        self._compute = compute

    @torch.inference_mode()
    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        """See BatchRunner."""
        outputs = self.compute([item.inputs.tensors for item in items])
        # Rows of their own memory: a request's answer must not keep its neighbours' in memory.
        return [{name: value[i].clone() for name, value in outputs.items()} for i in range(len(items))]

    @torch.inference_mode()
    def compute(self, inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Returns the outputs of inputs of one kind, side by side, on the CPU."""
        batch = {name: self._given(self._side_by_side(name, inputs)) for name in inputs[0]}
        return {name: _taken(value) for name, value in self._compute(batch).items()}

    def _side_by_side(self, name: str, inputs: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Returns `[items, longest, ...]`: what is shorter is padded behind its end."""
        values = [each[name] for each in inputs]
        filler = 0.0 if "mask" in name else self._padding
        return torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=filler)

    def _given(self, value: Tensor) -> Tensor:
        return value.to(self._device, self._dtype if value.is_floating_point() else None, non_blocking=True)


def _taken(value: Tensor) -> Tensor:
    return value.to("cpu", torch.float32 if value.is_floating_point() else None)
