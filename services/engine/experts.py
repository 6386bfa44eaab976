"""Mixtures of experts whose weights transformers keeps in one tensor for all experts: recognized, and read."""

from torch import Tensor, nn


def is_experts(module: nn.Module) -> bool:
    """Returns whether transformers calls this module as `experts(rows, chosen, shares)`.

    `rows` are `[T, hidden]`; `chosen` are the experts of each row and `shares` the weights of their results, both
    `[T, choices]`.
    """
    known = isinstance(getattr(module, "is_transposed", None), bool) and hasattr(module, "_apply_gate")
    # With expert parallelism a row may choose experts that are on another rank.
    if not known or getattr(module, "_is_expert_parallel", False):
        return False
    own = dict(module.named_parameters(recurse=False))
    # With tensor parallelism the weight is no plain Parameter, and the ranks' results are added up afterwards.
    return all(type(own.get(name)) is nn.Parameter and own[name].dim() == 3 for name in weight_names(module))


def weight_names(experts: nn.Module) -> tuple[str, str]:
    """Returns the names of the weights of the first and of the last product."""
    return ("gate_up_proj" if experts.has_gate else "up_proj"), "down_proj"


def weights_of(experts: nn.Module, name: str) -> Tensor:
    """Returns weights as `[experts, out, in]`, whichever way the module stores them."""
    weights: Tensor = getattr(experts, name).detach()
    return weights.transpose(1, 2) if experts.is_transposed else weights
