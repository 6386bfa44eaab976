"""How transformers' tensor parallel plan divides the layers of a model."""

import re

from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from services.engine.experts import weight_names


def style_of(model: PreTrainedModel, name: str) -> str | None:
    """Returns how the plan divides a layer, such as "colwise"; None if it does not."""
    return model.tp_plan.get(re.sub(r"\.\d+(?=\.)", ".*", name))


def are_divided_experts(model: PreTrainedModel, name: str, module: nn.Module) -> bool:
    """Returns whether each rank has a part of every expert, and the experts have no bias."""
    if style_of(model, name) != "moe_tp_experts" or not hasattr(module, "has_gate"):
        return False
    styles = {child: style_of(model, f"{name}.{child}") for child, _ in module.named_parameters(recurse=False)}
    return styles == dict(zip(weight_names(module), ("packed_colwise", "rowwise"), strict=True))


def local(parameter: Tensor) -> Tensor:
    """Returns this rank's part of a parameter."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
