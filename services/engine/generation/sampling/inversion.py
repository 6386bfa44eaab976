"""From weights and draws to tokens: the inverse of the cumulative distribution, found in two strides."""

import torch
from torch import Tensor
from torch.nn.functional import pad

_STRIDE = 256
_BELOW_ONE = 1 - 2.0**-53
"""The last float64 below 1, and the largest draw. A float64 times this is the last below that one."""


def invert(weights: Tensor, draws: Tensor) -> Tensor:
    """Returns the token of each row at which the sum of weights passes the draw's share of the whole, int64 `[rows]`.

    A token of weight 0 is never returned. Over a large vocabulary a running sum of float32 would drift: sums of strides
    of tokens are summed up in float64, and then the tokens of one stride.

    Args:
        weights: float32 `[rows, vocabulary]`, none negative, at least one of each row above 0.
        draws: float64 `[rows]`, in [0, 1) and of 53 bits, as those of `uniform`.
    """
    if rest := -weights.shape[1] % _STRIDE:
        weights = pad(weights, (0, rest))
    strides = weights.unflatten(1, (-1, _STRIDE))
    sums = strides.sum(dim=-1).double().cumsum(dim=-1)
    target = draws.unsqueeze(1) * sums[:, -1:]  # below the last sum, as draws are of 53 bits
    # Where weights are no numbers nothing is above it: whatever is returned then, no place beyond the last is read.
    stride = torch.searchsorted(sums, target, right=True).clamp(max=sums.shape[1] - 1)
    within = strides.gather(1, stride.unsqueeze(2).expand(-1, -1, _STRIDE)).squeeze(1).cumsum(-1, dtype=torch.float64)
    # Summed up anew they may end below what is left of the target: then it is the last that adds something.
    left = torch.minimum(target - pad(sums, (1, 0)).gather(1, stride), within[:, -1:] * _BELOW_ONE)
    return (stride * _STRIDE + torch.searchsorted(within, left, right=True)).squeeze(1)
