"""Row-parallel linear layers: each rank multiplies its part of the inputs, and an all-reduce adds up the results."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Exchange = Callable[[Tensor], Tensor]
"""An all-reduce: adds up the tensors of all ranks in place, and returns the sum."""


class PartialLinear(nn.Linear):
    """Computes `[..., in / ranks] -> [..., out]` with this rank's columns of the weight, and sums over all ranks.

    Only one rank has the bias. A faster module in its place must add it before the exchange.
    """

    exchange: Exchange

    def forward(self, input: Tensor) -> Tensor:
        """See nn.Linear."""
        return self.exchange(super().forward(input))


def exchange_of(linear: nn.Module) -> Exchange | None:
    """Returns the all-reduce of a layer's product, or None if it needs none."""
    own: Any = getattr(linear, "exchange", None)  # NarrowLinear has the attribute too
    return own
