"""Which tokens are left to draw from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.requests.request import SamplingParameters

_NEVER = float("-inf")
_HEADS = (256, 4096)
"""Likeliest tokens looked at first, and then: what is kept is seldom more."""


def truncate(logits: Tensor, parameters: list[SamplingParameters], least: int = 1) -> Tensor:
    """Returns the logits `[rows, vocabulary]` with minus infinity where a token is excluded.

    First by top-k, then by top-p and min-p, then by typicality, which is the order of transformers' `generate`. Each
    leaves at least `least` tokens.
    """
    if any(p.top_k or p.top_p < 1 or p.min_p for p in parameters):
        logits = _likely(logits, parameters, least)
    typical = [i for i, p in enumerate(parameters) if p.typical_p < 1]
    if typical:
        logits = logits.clone()
        mass = _column([parameters[i].typical_p for i in typical], logits)
        logits[typical] = _typical(logits[typical], mass, least)
    return logits


def _likely(logits: Tensor, parameters: list[SamplingParameters], least: int) -> Tensor:
    """Keeps what top-k, top-p and min-p keep: as a rule a few tokens, so that only the likeliest need be sorted."""
    kept, rows = torch.empty_like(logits), list(range(len(parameters)))
    for head in (*_HEADS, logits.shape[1]):
        limits = Limits.of([parameters[i] for i in rows]).to(logits.device)
        kept[rows], whole = keep_of_head(logits[rows], limits, least, head)
        rows = [i for i, fits in zip(rows, whole.tolist(), strict=True) if not fits]
        if not rows:
            break
    return kept


@dataclass(frozen=True)
class Limits:
    """Top-k, top-p and min-p of some rows, in this order float64 `[3, rows]`; 0, 2 and 0 where they limit nothing."""

    columns: Tensor
    largest_k: float
    """The largest top-k; infinity where a row has none."""

    @staticmethod
    def of(parameters: Sequence[SamplingParameters]) -> "Limits":
        """Returns those of the parameters, on the CPU."""
        # Top-p of 1 keeps all, whatever the rounding of the sum.
        rows = [(p.top_k, p.top_p if p.top_p < 1 else 2.0, p.min_p) for p in parameters]
        columns = torch.from_numpy(np.array(rows, dtype=np.float64).T.copy())
        return Limits(columns, max(p.top_k or float("inf") for p in parameters))

    def to(self, device: torch.device) -> "Limits":
        """Returns the same on a device."""
        return Limits(self.columns.to(device), self.largest_k)


def keep_of_head(logits: Tensor, limits: Limits, least: int, head: int = _HEADS[0]) -> tuple[Tensor, Tensor]:
    """Returns what is kept of the `head` likeliest tokens, and bool `[rows]`: whether that is all there is to keep.

    Asks the device for nothing.
    """
    vocabulary = logits.shape[1]
    ordered, order = torch.topk(logits, min(head, vocabulary))
    size = ordered.shape[1]
    top_k, top_p, min_p = limits.columns.unsqueeze(2)
    most = torch.where(top_k > 0, top_k, float(vocabulary)).clamp(min=least).long()
    # All tokens as likely as the last of the k stay too: which of them came first would be chance.
    keep = ordered >= ordered.gather(1, most.clamp(max=size) - 1)
    weights = (ordered - ordered[:, :1]).double().exp()
    # What top-k leaves of a row is 1; where it cuts nothing of the head, that is all tokens.
    cut = (top_k > 0) & (most < size)
    mass = torch.where(keep, weights, 0.0).sum(dim=-1, keepdim=True)
    if max(limits.largest_k, least) >= size:
        mass = torch.where(cut, mass, (logits - ordered[:, :1]).exp().sum(dim=-1, keepdim=True).double())
    reaches_end = keep[:, -1:] & cut
    probabilities = torch.where(keep, weights / mass, 0.0)
    before = probabilities.cumsum(dim=-1) - probabilities
    # A token stays while those before it have not reached top_p.
    keep &= (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    keep[:, :least] = True
    reaches_end |= keep[:, -1:]
    kept = torch.full_like(logits, _NEVER).scatter(1, order, ordered.masked_fill(~keep, _NEVER))
    return kept, (~reaches_end | (size == vocabulary)).squeeze(1)


def _typical(logits: Tensor, mass: Tensor, least: int) -> Tensor:
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
