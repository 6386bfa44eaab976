"""How transformers' plan divides the parts of a model, and what a rank has of them."""

import re

from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from services.engine.experts import weight_names


def style_of(model: PreTrainedModel, name: str) -> str | None:
    """Returns how the plan divides a layer, in transformers' words."""
    return model.tp_plan.get(re.sub(r"\.\d+(?=\.)", ".*", name))


def are_divided_experts(model: PreTrainedModel, name: str, module: nn.Module) -> bool:
    """Returns whether each rank has a part of every expert, and nothing is added to their products."""
    if style_of(model, name) != "moe_tp_experts" or not hasattr(module, "has_gate"):
        return False
    styles = {child: style_of(model, f"{name}.{child}") for child, _ in module.named_parameters(recurse=False)}
    return styles == dict(zip(weight_names(module), ("packed_colwise", "rowwise"), strict=True))


def local(parameter: Tensor) -> Tensor:
    """Returns what this rank holds of a parameter."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
