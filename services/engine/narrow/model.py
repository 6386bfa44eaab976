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
"""Names of layers that choose experts: they stay as they are, since a small error would choose another expert."""
_LINE = 16
"""Kernels read rows in blocks of this many numbers, or a multiple of it."""


def unsuitable(kind: str, device: torch.device) -> str:
    """Returns why weights of that kind cannot be used on a device; an empty string if they can."""
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
    """Replaces linear layers and experts by 8-bit ones on `device`, and moves the rest of the model there.

    The original weight of each is freed before the next is rounded. These layers stay as they are: the output layer,
    layers that choose experts, layers with shared weights, and layers with rows of a length that kernels do not
    support.

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
    log_narrowed(model, kind, narrow_count(model) / total)


def log_narrowed(model: nn.Module, kind: NarrowKind, share: float) -> None:
    """Logs what was replaced; `share` is its share of all weights.

    Raises:
        ValueError: nothing was replaced.
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
    """Returns the modules that may be replaced, with all their names.

    The output layer and layers that choose experts are left out, and modules to which others hold a reference.
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
    """Returns whether kernels support the row length of a weight `[.., out, in]`."""
    return shape[-1] % _LINE == 0


def narrow_count(model: nn.Module) -> int:
    """Returns the number of 8-bit weights."""
    return sum(module.bits.numel() for module in model.modules() if isinstance(module, (NarrowLinear, NarrowWeights)))


def _suits(module: nn.Module, uses: Counter[int]) -> bool:
    """Returns whether the weights are floating-point, not shared, and of a row length that kernels support."""
    names = ("weight",) if isinstance(module, nn.Linear) else weight_names(module)
    weights = [module.get_parameter(name) for name in names]
    shapes = [w.mT.shape if getattr(module, "is_transposed", False) else w.shape for w in weights]
    return all(map(rows_suit, shapes)) and all(uses[id(each)] == 1 and each.is_floating_point() for each in weights)


@torch.no_grad()
def widen_weights(model: nn.Module) -> None:
    """Replaces 8-bit layers by ordinary ones with the rounded weights, which compute the same."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, NarrowLinear):
            linear = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
            linear.weight = nn.Parameter(module.widened())
            linear.register_parameter("bias", module.bias)
            model.set_submodule(name, linear)
        elif isinstance(module, NarrowExperts):
            module.lend(module.first.widened(), module.last.widened())
            model.set_submodule(name, module.own)
