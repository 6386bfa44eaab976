"""Truncates distributions by top-k, top-p, min-p and typical-p."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.requests.request import SamplingParameters

_NEVER = float("-inf")
_LOWEST = torch.finfo(torch.float32).min
_HEADS = (256, 4096)
"""How many of the likeliest tokens are looked at first, and then if these do not suffice."""


def limited(parameters: SamplingParameters) -> bool:
    """Returns whether top-k, top-p or min-p may exclude a token."""
    return bool(parameters.top_k or parameters.top_p < 1 or parameters.min_p)


def truncate(logits: Tensor, parameters: list[SamplingParameters], least: int = 1) -> Tensor:
    """Returns the logits `[rows, vocabulary]` with minus infinity where a token is excluded.

    First by top-k, then by top-p and min-p, then by typicality, which is the order of transformers' `generate`. Each
    keeps at least `least` tokens.
    """
    if any(limited(p) for p in parameters):
        logits = _likely(logits, parameters, least)
    typical = [i for i, p in enumerate(parameters) if p.typical_p < 1]
    if typical:
        logits = logits.clone()
        mass = _column([parameters[i].typical_p for i in typical], logits)
        logits[typical] = only_typical(logits[typical], mass, least)
    return logits


def _likely(logits: Tensor, parameters: list[SamplingParameters], least: int) -> Tensor:
    """Applies top-k, top-p and min-p. These mostly keep few tokens, so that only the likeliest need be sorted."""
    kept, rows = torch.empty_like(logits), list(range(len(parameters)))
    for size in (*_HEADS, logits.shape[1]):
        limits = Limits.of([parameters[i] for i in rows]).to(logits.device)
        left = logits[rows]
        head = look_at_head(left, limits, least, size)
        kept[rows] = torch.full_like(left, _NEVER).scatter(1, head.order, head.logits.masked_fill(~head.keep, _NEVER))
        rows = [i for i, more in zip(rows, head.more.tolist(), strict=True) if more]
        if not rows:
            break
    return kept


@dataclass(frozen=True)
class Limits:
    """Top-k, top-p and min-p of rows, in this order, float64 `[3, rows]`; infinity, 2 and 0 limit nothing."""

    columns: Tensor
    largest_k: float
    """The largest top-k, or an upper bound of it."""

    @staticmethod
    def of(parameters: Sequence[SamplingParameters]) -> "Limits":
        """Returns the limits of the parameters, on the CPU."""
        # Top-p of 1 keeps all, whatever the rounding of the sum.
        rows = [(p.top_k or float("inf"), p.top_p if p.top_p < 1 else 2.0, p.min_p) for p in parameters]
        columns = torch.from_numpy(np.array(rows, dtype=np.float64).T.copy())
        return Limits(columns, max(most for most, _, _ in rows))

    def to(self, device: torch.device) -> "Limits":
        """Returns the same on a device."""
        return Limits(self.columns.to(device), self.largest_k)


@dataclass(frozen=True)
class Head:
    """The likeliest tokens of rows, the likeliest first, and which of them are kept."""

    logits: Tensor
    """`[rows, n]`."""
    order: Tensor
    """Tokens, int64 `[rows, n]`."""
    keep: Tensor
    """Bool `[rows, n]`."""
    more: Tensor
    """Bool `[rows]`: whether tokens beyond them may be kept too."""


def look_at_head(
    logits: Tensor, limits: Limits, least: int, size: int = _HEADS[0], total: Tensor | None = None
) -> Head:
    """Returns the `size` likeliest tokens. Asks the device for nothing.

    Args:
        logits: float32 `[rows, vocabulary]`.
        limits: What is kept.
        least: As many tokens are kept whatever the limits say.
        size: Fewer if there are not so many tokens.
        total: `[rows, 1]`, what the exponentials of the logits add up to, if it is known and the highest of each is 0.
    """
    vocabulary, size = logits.shape[1], min(size, logits.shape[1])
    ordered, order = torch.topk(logits, size)
    most, top_p, min_p = limits.columns.unsqueeze(2)
    most = most.clamp(min=least)
    # All tokens as likely as the last of the k stay too: which of them came first would be chance. None that is
    # forbidden does.
    keep = ordered >= ordered.gather(1, most.clamp(max=size).long() - 1).clamp_(min=_LOWEST)
    weights = (ordered - ordered[:, :1]).double().exp() * keep
    # What top-k leaves of a row is 1; where it cuts nothing of the head, that is all tokens.
    mass, cut = weights.sum(dim=-1, keepdim=True), most < size
    if max(limits.largest_k, least) >= size:
        total = (logits - ordered[:, :1]).exp().sum(dim=-1, keepdim=True) if total is None else total
        mass = torch.where(cut, mass, total.double())
    more = keep[:, -1:] & cut
    probabilities = weights / mass
    before = probabilities.cumsum(dim=-1) - probabilities
    # A token stays while those before it have not reached top_p.
    keep &= (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    keep[:, :least] = True
    more |= keep[:, -1:]
    return Head(ordered, order, keep, more.squeeze(1) if size < vocabulary else torch.zeros_like(more[:, 0]))


def only_typical(logits: Tensor, mass: Tensor, least: int) -> Tensor:
    """Keeps tokens whose information is nearest to the entropy, until their probabilities reach `mass` `[rows, 1]`."""
    information = -torch.log_softmax(logits.double(), dim=-1)
    probabilities = torch.exp(-information)
    entropy = (information * probabilities).nansum(dim=-1, keepdim=True)  # an excluded token's is infinity times 0
    distance, order = torch.sort((information - entropy).abs(), dim=-1, stable=True)
    cumulative = probabilities.gather(1, order).cumsum(dim=-1)
    last = (cumulative < mass).sum(dim=-1, keepdim=True).clamp(max=logits.shape[1] - 1)
    # All as typical as the last stay too.
    excluded = distance > distance.gather(1, last)
    excluded[:, :least] = False
    return logits.masked_fill(torch.zeros_like(excluded).scatter(1, order, excluded), _NEVER)


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.from_numpy(np.array(values)).to(like.device).unsqueeze(1)
