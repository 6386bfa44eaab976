"""From weights and draws to tokens: the inverse of the cumulative distribution, found in two strides."""

import torch
from torch import Tensor
from torch.nn.functional import pad

_STRIDE = 256


def invert(weights: Tensor, draws: Tensor) -> Tensor:
    """Returns the token of each row at which the sum of weights passes the draw's share of the whole, int64 `[rows]`.

    A token of weight 0 is never returned. Over a large vocabulary a running sum of float32 would drift: sums of strides
    of tokens are summed up in float64, and then the tokens of one stride.

    Args:
        weights: float32 `[rows, vocabulary]`, none negative, at least one of each row above 0.
        draws: float64 `[rows]`, in [0, 1).
    """
    strides = pad(weights, (0, -weights.shape[1] % _STRIDE)).unflatten(1, (-1, _STRIDE))
    sums = strides.sum(dim=-1).double().cumsum(dim=-1)
    target = draws.unsqueeze(1) * sums[:, -1:]
    stride = _first_above(sums, target)
    before = torch.where(stride > 0, sums.gather(1, (stride - 1).clamp(min=0)), 0.0)
    rows = torch.arange(len(weights), device=weights.device)
    within = strides[rows, stride.squeeze(1)].cumsum(dim=-1, dtype=torch.float64)
    return (stride * _STRIDE + _first_above(within, target - before)).squeeze(1)


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """Returns where `cumulative` `[rows, n]` first is above `target` `[rows, 1]`; where it ends to grow, if nowhere."""
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
