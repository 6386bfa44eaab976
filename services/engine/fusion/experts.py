"""Mixtures of experts on the native library, each expert's weights packed separately."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import use_experts_implementation

from services.engine.experts import is_experts, weight_names, weights_of
from services.engine.fusion.mlp import activation_of
from services.engine.fusion.survey import Observation
from services.engine.native.arena import Arena
from services.engine.native.library import Library
from services.engine.native.linear import Gate, NativeLinear, takes


class FusedExperts(nn.Module):
    """Computes `experts(rows, chosen, shares)`, see `is_experts`, and takes over the weights of the model's module."""

    def __init__(self, own: Any, library: Library, arena: Arena) -> None:
        super().__init__()
        self._own, gate = (own,), known_gate(own)  # in a tuple, so that it is not registered as a child
        self._between = nn.Identity() if gate else own._apply_gate if own.has_gate else own.act_fn
        first, last = weight_names(own)
        self._linears = linears_of(own, first, 2 if gate else 1), linears_of(own, last, 1)
        self._first = [NativeLinear(library, linears, arena, gate) for linears in self._linears[0]]
        self._last = [NativeLinear(library, linears, arena) for linears in self._linears[1]]
        for name in (first, last):
            setattr(own, name, None)

    def forward(self, hidden_states: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """Returns `[T, hidden]`. The result of a row does not depend on the other rows, bit for bit."""
        pairs = chosen.flatten()
        order = pairs.argsort(stable=True)
        tokens, counts = order // chosen.shape[1], pairs.bincount(minlength=len(self._first)).tolist()
        parts = hidden_states[tokens].split(counts)
        found = [
            last(self._between(first(part)))
            for first, last, part in zip(self._first, self._last, parts, strict=True)
            if len(part)
        ]
        products = torch.cat(found).float() * shares.flatten()[order].float().unsqueeze(1)
        output = products.new_zeros(len(hidden_states), products.shape[1]).index_add_(0, tokens, products)
        return output.to(hidden_states.dtype)

    def give_back(self) -> None:
        """Returns the weights to the experts that it was built from. It cannot be used afterwards."""
        (own,) = self._own
        for name, layers, linears in zip(weight_names(own), (self._first, self._last), self._linears, strict=True):
            for layer in layers:
                layer.give_back()
            weights = torch.stack([torch.cat([linear.weight for linear in each]) for each in linears])
            setattr(own, name, nn.Parameter(weights.transpose(1, 2).contiguous() if own.is_transposed else weights))


def fused_experts(module: nn.Module, seen: Observation, library: Library, arena: Arena) -> FusedExperts | None:
    """Returns a fused module for `module`, or None if it is not of a known kind."""
    if not is_experts(module) or not called_as_experts(seen) or getattr(module, "has_post_expert_norm", False):
        return None
    if not all(takes(library, _linear(weights_of(module, name)[0], None)) for name in weight_names(module)):
        return None
    return FusedExperts(module, library, arena)


def called_as_experts(seen: Observation) -> bool:
    """Returns whether a module was called with `rows [T, hidden]`, `chosen` and `shares` as its three positional
    arguments.
    """
    return not seen.named and len(seen.arguments) == 3 and seen.arguments[0].dim() == 2


def known_gate(experts: Any) -> Gate:
    """Returns the activation of the first half of a gated product, or Gate.NONE if the experts compute their gate
    otherwise.
    """
    default = type(experts)._apply_gate.__module__ == use_experts_implementation.__module__
    if not experts.has_gate or not experts.is_concatenated or not default:
        return Gate.NONE
    return activation_of(experts.act_fn) or Gate.NONE


def linears_of(experts: Any, name: str, parts: int) -> list[Sequence[nn.Linear]]:
    """Returns the linear layers of one product for each expert, each split along its outputs into `parts`."""
    found: list[Sequence[nn.Linear]] = []
    for i, weight in enumerate(weights_of(experts, name)):
        bias = getattr(experts, f"{name}_bias").detach()[i].chunk(parts) if experts.has_bias else [None] * parts
        found.append([_linear(*each) for each in zip(weight.chunk(parts), bias, strict=True)])
    return found


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    units, width = weight.shape
    made = nn.Linear(width, units, bias=False, device="meta")
    made.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        made.bias = nn.Parameter(bias)
    return made
