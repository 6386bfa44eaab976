"""Rounds the weights of a model's linear layers and experts to 8 bits, one after another."""

import logging
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from services.engine.acceleration.listed_modules import listed
from services.engine.experts import is_experts, weight_names
from services.engine.narrow.experts import NarrowExperts, NarrowWeights
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.numbers import NarrowKind

log = logging.getLogger(__name__)

_ROUTERS = {"gate", "router", "shared_expert_gate"}
"""Names of layers that choose experts: there a small error chooses another expert."""
_LINE = 16
"""The least count of numbers that a kernel reads at once."""


def unsuitable(kind: str, device: torch.device) -> str:
    """Returns why weights of that kind cannot be used on a device; empty where they can."""
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
    """Replaces linear layers and experts by narrow ones on `device` and moves the rest of the model there.

    The wide weights of each are freed before the next one is rounded. These layers stay as they are: the output layer,
    layers that choose experts, layers with shared weights, and those whose rows have a length that no kernel reads.

    Raises:
        ValueError: the model has nothing to replace.
    """
    uses = Counter(id(own) for module in model.modules() for own in module._parameters.values())
    total = model.num_parameters()
    for module, places in replaceable(model).items():
        if not (type(module) is nn.Linear or is_experts(module)) or not _suits(module, uses):
            continue
        if isinstance(module, nn.Linear):
            made = NarrowLinear(module, kind, device)
            module.weight = None  # type: ignore[assignment]
        else:
            made = NarrowExperts(module, kind, device)
        for place in places:
            model.set_submodule(place, made)
    model.to(device)  # type: ignore[arg-type]
    tell(model, kind, narrow_count(model) / total)


def tell(model: nn.Module, kind: NarrowKind, share: float) -> None:
    """Logs what was replaced, `share` of the weights.

    Raises:
        ValueError: nothing was.
    """
    linears, experts = (
        sum(isinstance(module, kind_of) for module in model.modules()) for kind_of in (NarrowLinear, NarrowExperts)
    )
    if not linears and not experts:
        raise ValueError(f"it has no linear layers for --quantization {kind}")
    log.info(
        "%.0f %% of the weights are %s: those of %d linear layers, and of the experts of %d layers",
        100 * share, kind, linears, experts,
    )  # fmt: skip


def replaceable(model: PreTrainedModel) -> dict[nn.Module, list[str]]:
    """Returns the modules, with all their names, that may be replaced.

    They are neither the output layer nor choose experts, and no other module holds a reference to them.
    """
    kept, names = listed(model) | {model.get_output_embeddings()}, dict[nn.Module, list[str]]()
    for name, module in model.named_modules(remove_duplicate=False):
        if module not in kept:
            names.setdefault(module, []).append(name)
    return {
        module: places
        for module, places in names.items()
        if not any(place.rpartition(".")[2] in _ROUTERS for place in places)
    }


def rows_suit(shape: Sequence[int]) -> bool:
    """Returns whether the rows of a weight `[.., out, in]` have a length that kernels read."""
    return shape[-1] % _LINE == 0


def narrow_count(model: nn.Module) -> int:
    """Returns the number of 8-bit weights."""
    return sum(module.bits.numel() for module in model.modules() if isinstance(module, (NarrowLinear, NarrowWeights)))


def _suits(module: nn.Module, uses: Counter[int]) -> bool:
    """Returns whether these are floating-point weights that nothing else uses, in rows that kernels read."""
    names = ("weight",) if isinstance(module, nn.Linear) else weight_names(module)
    weights = [module.get_parameter(name) for name in names]
    shapes = [w.mT.shape if getattr(module, "is_transposed", False) else w.shape for w in weights]
    return all(map(rows_suit, shapes)) and all(uses[id(each)] == 1 and each.is_floating_point() for each in weights)


@torch.no_grad()
def widen_weights(model: nn.Module) -> None:
    """Replaces narrow layers by ordinary ones that compute the same: their weights are those that were rounded."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, NarrowLinear):
            linear = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
            linear.weight = nn.Parameter(module.widened())
            linear.register_parameter("bias", module.bias)
            model.set_submodule(name, linear)
        elif isinstance(module, NarrowExperts):
            module.lend(module.first.widened(), module.last.widened())
            model.set_submodule(name, module.own)
