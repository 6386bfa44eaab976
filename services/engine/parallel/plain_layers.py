"""Layers of a divided model as plain ones, which fused layers can take the place of."""

import re

import torch
from torch import nn
from transformers import PreTrainedModel

from services.engine.fusion.attention import is_attention
from services.engine.fusion.mlp import AnyLinear, is_gated_mlp, linear_children
from services.engine.parallel.plan import local
from services.engine.partial_linear import Exchange, PartialLinear

_SUMS = {"o_proj", "down_proj"}
"""Layers that are given what those beside them leave divided, so that each rank has a part of their sums."""


@torch.no_grad()
def make_plain(model: PreTrainedModel, exchange: Exchange, *, leads: bool) -> None:
    """Replaces the linear layers of attention and of gated feed-forward layers by plain ones of this rank's weights.

    Those that transformers' plan divides in another way stay. The bias of a sum is left to the rank that `leads`.
    """
    for name, module in list(model.named_modules()):
        if not is_attention(module) and not is_gated_mlp(module):
            continue
        linears = linear_children(module)
        if any(_style(model, f"{name}.{child}") != ("rowwise" if child in _SUMS else "colwise") for child in linears):
            continue
        for child, linear in linears.items():
            setattr(module, child, _plain(linear, exchange if child in _SUMS else None, leads=leads))


def _style(model: PreTrainedModel, name: str) -> str | None:
    """Returns how the plan divides a layer, in transformers' words."""
    return model.tp_plan.get(re.sub(r"\.\d+(?=\.)", ".*", name))


def _plain(linear: AnyLinear, exchange: Exchange | None, *, leads: bool) -> nn.Linear:
    weight = local(linear.weight).contiguous()
    rows, columns = weight.shape
    made = (nn.Linear if exchange is None else PartialLinear)(columns, rows, bias=False, device="meta")
    made.weight = nn.Parameter(weight)
    if linear.bias is not None and (exchange is None or leads):
        made.bias = nn.Parameter(local(linear.bias))
    if isinstance(made, PartialLinear) and exchange is not None:
        made.exchange = exchange
    return made
