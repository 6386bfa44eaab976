"""Routers of mixtures of experts: finds the rule by which a router chooses, from its attributes and its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from services.engine.fusion.survey import TOLERANCE, Observation

_DRAWN = 256
"""Number of random rows that a router is tried with. Different rules give equal choices for many rows."""
_SPREAD = 2.0
"""Standard deviation of their logits: with nearly equal logits, different rules give nearly equal shares."""


@dataclass(frozen=True)
class Rule:
    """How a router turns a row's logits, one for each expert, into chosen experts and their shares."""

    choices: int
    sigmoid: bool
    """Scores are the sigmoid of each logit; else the softmax of all."""
    correction: Tensor | None
    """Added to the scores for the choice only, not for the shares; `[experts]`."""
    groups: int
    """Number of groups of experts. A group is ranked by the sum of its two best; only `open_groups` groups can be
    chosen from.
    """
    open_groups: int
    normalized: bool
    """The scores of the chosen experts are divided by their sum."""
    scale: float
    """Factor of all shares, applied last."""
    rounded: bool
    """Logits are rounded to the dtype of the rows before they are used."""

    def holds(self, output: Sequence[Tensor]) -> bool:
        """Returns whether shares and choices follow from the logits. Among experts with equal scores any choice is
        accepted.
        """
        logits, shares, chosen = output
        scores = logits.float().sigmoid() if self.sigmoid else logits.float().softmax(-1)
        merits = self._open(scores if self.correction is None else scores + self.correction)
        best, taken = merits.topk(self.choices).values, merits.gather(1, chosen).sort(descending=True).values
        expected = scores.gather(1, chosen)
        if self.normalized:
            expected = expected / expected.sum(-1, keepdim=True)
        return _close(taken, best, shares.dtype) and _close(shares.float(), expected * self.scale, shares.dtype)

    def _open(self, merits: Tensor) -> Tensor:
        if self.groups == 1:
            return merits
        grouped = merits.unflatten(1, (self.groups, -1))
        worth = grouped.topk(2).values.sum(-1)
        least = worth.topk(self.open_groups).values[:, -1:]
        return grouped.where((worth >= least).unsqueeze(-1), -torch.inf).flatten(1)


def _close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    return torch.allclose(found, expected, rtol=TOLERANCE[dtype], atol=1e-6)


def is_router(module: nn.Module) -> bool:
    """Returns whether this is a router with one weight `[experts, hidden]`, by its parameters and buffers."""
    if not isinstance(getattr(module, "top_k", None), int):
        return False
    own, weight = dict(module.named_parameters()), getattr(module, "weight", None)
    return (
        type(weight) is nn.Parameter  # a tensor parallel weight is of another type
        and weight.dim() == 2
        and own.keys() <= {"weight", "bias"}
        and dict(module.named_buffers()).keys() <= {"e_score_correction_bias"}
    )


@torch.inference_mode()
def rule_of(router: Any, seen: Observation) -> Rule | None:
    """Returns the rule of a router, or None if it follows no known one.

    A router returns `logits` `[T, experts]`, `shares` and `chosen`, both `[T, choices]`.
    """
    if not _called_as_router(router, seen):
        return None
    rows = drawn_rows(router, seen.arguments[0].dtype)
    drawn = router(rows)
    for sigmoid, normalized in product((False, True), repeat=2):
        rule = Rule(
            choices=router.top_k,
            sigmoid=sigmoid,
            correction=getattr(router, "e_score_correction_bias", None),
            groups=getattr(router, "num_group", None) or 1,
            open_groups=getattr(router, "topk_group", None) or 1,
            normalized=normalized,
            scale=float(getattr(router, "routed_scaling_factor", 1.0)),
            rounded=torch.equal(drawn[0], drawn[0].to(rows.dtype).to(drawn[0].dtype)),
        )
        if rule.holds(seen.output) and rule.holds(drawn):
            return rule
    return None


def _called_as_router(router: Any, seen: Observation) -> bool:
    if seen.named or len(seen.arguments) != 1 or not isinstance(seen.output, tuple) or len(seen.output) != 3:
        return False
    (given,), (experts, width) = seen.arguments, router.weight.shape
    logits, shares, chosen = seen.output
    rows = given.numel() // width
    return (
        given.shape[-1] == width
        and logits.shape == (rows, experts)
        and shares.shape == chosen.shape == (rows, router.top_k)
        and shares.dtype in TOLERANCE
        and chosen.dtype == torch.int64
    )


def drawn_rows(router: Any, dtype: torch.dtype) -> Tensor:
    """Returns random rows, the same in each call, whose logits differ enough to show the rule of a router."""
    weight: Tensor = router.weight
    drawn = torch.randn(_DRAWN, weight.shape[1], generator=torch.Generator().manual_seed(1)).to(weight.device)
    return (drawn * _SPREAD / weight.float().norm(dim=1).mean()).to(dtype)
