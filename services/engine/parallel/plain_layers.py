"""Turns the tensor parallel layers of a model into plain modules with this rank's weights, which can be fused."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from services.engine.experts import weight_names
from services.engine.fusion.attention import is_attention
from services.engine.fusion.mlp import is_gated_mlp, linear_children
from services.engine.parallel.partial_linear import Exchange, PartialLinear
from services.engine.parallel.styles import are_divided_experts, local, style_of

_SUMS = {"o_proj", "down_proj"}
"""Row-parallel layers: their inputs are divided, so that each rank has a part of their sums."""


class SummedExperts(nn.Module):
    """Plain experts with this rank's part of each expert's weights. Results are summed over all ranks."""

    def __init__(self, experts: nn.Module, exchange: Exchange) -> None:
        super().__init__()
        self.experts = experts
        self._exchange = exchange

    def forward(self, *given: Tensor) -> Tensor:
        """See `is_experts`."""
        return self._exchange(self.experts(*given))


@torch.no_grad()
def make_plain(model: PreTrainedModel, exchange: Exchange, *, leads: bool) -> None:
    """Replaces the linear layers of attention and of gated feed-forward layers by plain ones with this rank's weights.

    Experts become plain too. Layers that transformers' plan divides differently stay. Only the rank that `leads` keeps
    the bias of row-parallel layers.
    """
    for name, module in list(model.named_modules()):
        if is_attention(module) or is_gated_mlp(module):
            linears = linear_children(module)
            if all(style_of(model, f"{name}.{child}") == _linear_style(child) for child in linears):
                for child, linear in linears.items():
                    if isinstance(linear, nn.Linear):  # NarrowLinear is plain already
                        setattr(module, child, _plain(linear, exchange if child in _SUMS else None, leads=leads))
        elif are_divided_experts(model, name, module):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, SummedExperts(_plain_experts(module), exchange))


def _linear_style(name: str) -> str:
    """Returns how linear layers of that name are usually divided."""
    return "rowwise" if name in _SUMS else "colwise"


def _plain_experts(experts: Any) -> nn.Module:
    """Returns the same experts with this rank's weights and without the plan's hooks."""
    for name in weight_names(experts):
        setattr(experts, name, nn.Parameter(local(getattr(experts, name))))
    return without_plan(experts)


def without_plan(experts: Any) -> nn.Module:
    """Returns the same experts without the forward that the plan has put around theirs."""
    del experts.forward  # the plan's; the class's own shows again
    return experts


def _plain(linear: nn.Linear, exchange: Exchange | None, *, leads: bool) -> nn.Linear:
    weight = local(linear.weight).contiguous()
    rows, columns = weight.shape
    made = (nn.Linear if exchange is None else PartialLinear)(columns, rows, bias=False, device="meta")
    made.weight = nn.Parameter(weight)
    if linear.bias is not None and (exchange is None or leads):
        made.bias = nn.Parameter(local(linear.bias))
    if isinstance(made, PartialLinear) and exchange is not None:
        made.exchange = exchange
    return made
