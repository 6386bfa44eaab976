"""Experts that transformers keeps in one tensor for each product: how they are told, how their weights lie."""

from torch import Tensor, nn


def is_experts(module: nn.Module) -> bool:
    """Returns whether this is called as `experts(rows, chosen, shares)` by transformers' interface for experts.

    Rows are `[T, hidden]`, the experts that each chose and what their results are multiplied with `[T, choices]`.
    """
    known = isinstance(getattr(module, "is_transposed", None), bool) and hasattr(module, "_apply_gate")
    # Where ranks have some of the experts each, others are chosen too, which are not here.
    if not known or getattr(module, "_is_expert_parallel", False):
        return False
    own = dict(module.named_parameters(recurse=False))
    # Where they have a part of each, the weight is of another type, and what they find is added up behind it.
    return all(type(own.get(name)) is nn.Parameter and own[name].dim() == 3 for name in weight_names(module))


def weight_names(experts: nn.Module) -> tuple[str, str]:
    """Returns what the weights of the first and of the last product are called."""
    return ("gate_up_proj" if experts.has_gate else "up_proj"), "down_proj"


def weights_of(experts: nn.Module, name: str) -> Tensor:
    """Returns weights as `[experts, out, in]`, however they lie."""
    weights: Tensor = getattr(experts, name).detach()
    return weights.transpose(1, 2) if experts.is_transposed else weights
