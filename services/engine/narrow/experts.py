"""Mixtures of experts with 8-bit weights."""

from typing import Any

import torch
from torch import Tensor, nn

from services.engine.experts import weight_names, weights_of
from services.engine.narrow.numbers import Narrowed, NarrowKind, narrowed_by_one, widened


class NarrowWeights(nn.Module):
    """The weights of one product of all experts, `[experts, out, in]`, with a scale for each output of each."""

    def __init__(self, weights: Tensor, kind: NarrowKind, device: torch.device, known: Narrowed | None = None) -> None:
        """Rounds `weights` on `device`, one expert at a time, unless the rounded numbers are `known`."""
        super().__init__()
        numbers, scales = known or narrowed_by_one(weights, kind, device)
        self.dtype, self.number_type = weights.dtype, numbers.dtype
        # See NarrowLinear.
        self.bits = nn.Parameter(numbers.view(torch.int8), requires_grad=False)
        self.register_buffer("scales", scales)
        self.scales: Tensor

    @property
    def numbers(self) -> Tensor:
        """The 8-bit numbers `[experts, out, in]`; times `scales` they are the weights."""
        return self.bits.view(self.number_type)

    def widened(self, output: Tensor | None = None) -> Tensor:
        """Returns the weights in the dtype of the computation, in `output` if that is given."""
        if output is None:
            output = torch.empty(self.bits.shape, dtype=self.dtype, device=self.bits.device)
        return widened(self.numbers, self.scales, output)


class NarrowExperts(nn.Module):
    """Computes the same as the model's experts with 8-bit weights, all of which it converts to the model's dtype at
    each call.

    It is slow and simple: the reference for the kernels.
    """

    def __init__(
        self,
        experts: nn.Module,
        kind: NarrowKind,
        device: torch.device,
        known: tuple[Narrowed | None, Narrowed | None] = (None, None),
    ) -> None:
        """Rounds the weights of `experts` on `device`, one product after the other. `known` weights are not rounded
        again.
        """
        super().__init__()
        self.own = experts
        names = weight_names(experts)
        self.first, self.last = (self._taken(*each, kind, device) for each in zip(names, known, strict=True))

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        """Computes what the model's experts compute."""
        return self.computed(self.first.widened(), self.last.widened(), *arguments, **named)

    def computed(self, first: Tensor, last: Tensor, *arguments: Any, **named: Any) -> Tensor:
        """Computes the same with these converted weights, `[experts, out, in]`."""
        self.lend(first, last)
        try:
            return self.own(*arguments, **named)
        finally:
            for name in weight_names(self.own):
                delattr(self.own, name)

    def lend(self, first: Tensor, last: Tensor) -> None:
        """Sets the weights of the model's own experts, `[experts, out, in]`."""
        for name, weights in zip(weight_names(self.own), (first, last), strict=True):
            lying = weights.transpose(1, 2) if self.own.is_transposed else weights
            setattr(self.own, name, nn.Parameter(lying, requires_grad=False))

    def _taken(self, name: str, known: Narrowed | None, kind: NarrowKind, device: torch.device) -> NarrowWeights:
        made = NarrowWeights(weights_of(self.own, name), kind, device, known)
        delattr(self.own, name)
        return made


def is_narrow_experts(module: nn.Module) -> bool:
    """Returns whether this is a NarrowExperts."""
    return isinstance(module, NarrowExperts)
