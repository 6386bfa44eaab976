"""Which tokens are left to draw from."""

import numpy as np
import torch
from torch import Tensor

from services.engine.generation.request import SamplingParameters

_NEVER = float("-inf")


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
    """Keeps what top-k, top-p and min-p keep."""
    vocabulary = logits.shape[1]
    ordered, order = torch.sort(logits, dim=-1, descending=True, stable=True)
    # All tokens as likely as the last of the k stay too: which of them came first would be chance.
    last = _column([min(max(p.top_k or vocabulary, least), vocabulary) - 1 for p in parameters], logits)
    keep = ordered >= ordered.gather(1, last)
    ordered = ordered.masked_fill(~keep, _NEVER)
    probabilities = torch.softmax(ordered.double(), dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    # A token stays while those before it have not reached top_p; 1 keeps all, whatever the rounding of the sum.
    top_p = _column([p.top_p if p.top_p < 1 else 2.0 for p in parameters], logits)
    min_p = _column([p.min_p for p in parameters], logits)
    keep &= (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    keep[:, :least] = True
    return logits.masked_fill(~torch.zeros_like(keep).scatter(1, order, keep), _NEVER)


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
