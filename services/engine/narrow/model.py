"""Gives the linear layers of a model weights of 8 bits, one after another."""

import logging
from collections import Counter

import torch
from torch import nn
from transformers import PreTrainedModel

from services.engine.listed_modules import listed
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.numbers import NarrowKind

log = logging.getLogger(__name__)

_ROUTERS = {"gate", "router", "shared_expert_gate"}
"""Last names of layers that choose experts: a small error there is another expert."""
_LINE = 16
"""Numbers that a kernel reads at once at least."""


def unsuitable(kind: str, device: torch.device) -> str:
    """Returns why weights of that kind are of no use on a device, or nothing."""
    if device.type != "cuda":
        return (
            f"--quantization {kind} makes decoding faster on a GPU and slower on a CPU. Use bitsandbytes-int8 to save "
            "memory there, or none."
        )
    if kind == "fp8_e4m3" and torch.cuda.get_device_capability(device) < (8, 9):
        return f"this GPU has no 8-bit floats, which --quantization {kind} needs. Use int8."
    return ""


@torch.no_grad()
def narrow_weights(model: PreTrainedModel, kind: NarrowKind, device: torch.device) -> None:
    """Replaces linear layers by narrow ones on `device` and moves the rest of the model there.

    A layer's weight is gone before the next one's is made. Those stay as they are that make the logits or choose
    experts, whose weights something else uses too, and whose rows are of an odd length.

    Raises:
        ValueError: the model has no layer to replace.
    """
    names: dict[nn.Linear, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if type(module) is nn.Linear:
            names.setdefault(module, []).append(name)
    uses = Counter(id(own) for module in model.modules() for own in module._parameters.values())
    kept = listed(model) | {model.get_output_embeddings()}
    total, narrow = model.num_parameters(), 0
    for linear, places in names.items():
        suits = linear.in_features % _LINE == 0 and uses[id(linear.weight)] == 1 and linear.weight.is_floating_point()
        if linear in kept or not suits or any(place.rpartition(".")[2] in _ROUTERS for place in places):
            continue
        made = NarrowLinear(linear, kind, device)
        for place in places:
            model.set_submodule(place, made)
        linear.weight = None  # type: ignore[assignment]
        narrow += made.bits.numel()
    if not narrow:
        raise ValueError(f"it has no linear layers for --quantization {kind}")
    model.to(device)  # type: ignore[arg-type]
    log.info("%.0f %% of the weights are %s", 100 * narrow / total, kind)


@torch.no_grad()
def widen_weights(model: nn.Module) -> None:
    """Replaces narrow layers by ordinary ones that compute the same: their weights are those that were rounded."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, NarrowLinear):
            linear = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
            linear.weight = nn.Parameter(module.widened())
            linear.register_parameter("bias", module.bias)
            model.set_submodule(name, linear)
