"""Runs a model on batches of tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from services.engine.batching.job import Item
from services.engine.batching.numbers import are_numbers

Compute = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""Runs the model on stacked inputs. Returns the outputs that are read, with one row for each item."""


_LOGITS = ("logits", "classes")
"""Outputs of which a softmax over the last dimension is taken."""


class TensorRunner:
    """A BatchRunner of items whose inputs have `tensors` by name; in a batch these have equal shapes.

    Its output for an item is a dict of tensors on the CPU, floating-point numbers in float32; None if they are NaN.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, compute: Compute) -> None:
        self._device = device
        self._dtype = dtype
        self._compute = compute

    @torch.inference_mode()
    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        """See BatchRunner."""
        outputs = self.compute([item.inputs.tensors for item in items])
        # Rows of their own memory: a request's answer must not keep its neighbours' in memory.
        rows = [{name: value[i].clone() for name, value in outputs.items()} for i in range(len(items))]
        return rows if _usable(outputs) else [row if _usable(row) else None for row in rows]

    @torch.inference_mode()
    def compute(self, inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Returns the outputs of inputs of one kind, stacked, on the CPU."""
        batch = {name: self._given(self.side_by_side(name, [each[name] for each in inputs])) for name in inputs[0]}
        return {name: _taken(value) for name, value in self._compute(batch).items()}

    def side_by_side(self, name: str, values: Sequence[Tensor]) -> Tensor:
        """Stacks the tensors that the items of a batch have under a name: `[items, ...]`."""
        del name
        return torch.stack(list(values))

    def _given(self, value: Tensor) -> Tensor:
        return value.to(self._device, self._dtype if value.is_floating_point() else None, non_blocking=True)


def _usable(outputs: Mapping[str, Tensor]) -> bool:
    return all(are_numbers(value, -1 if name in _LOGITS else None) for name, value in outputs.items())


def _taken(value: Tensor) -> Tensor:
    return value.to("cpu", torch.float32 if value.is_floating_point() else None)
