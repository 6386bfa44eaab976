"""Row-parallel linear layers: each rank multiplies its part of the inputs, and an all-reduce adds up the results."""

from collections.abc import Callable

from torch import Tensor, nn

Exchange = Callable[[Tensor], Tensor]
"""An all-reduce: adds up the tensors of all ranks in place, and returns the sum."""


class PartialLinear(nn.Linear):
    """Computes what the whole layer does, `[..., in / ranks] -> [..., out]`, with this rank's columns of its weight.

    A faster module in its place must add the bias, which only one rank has, before the exchange.
    """

    exchange: Exchange

    def forward(self, input: Tensor) -> Tensor:
        """See nn.Linear."""
        return self.exchange(super().forward(input))


def exchange_of(linear: nn.Module) -> Exchange | None:
    """Returns the all-reduce behind a layer's product; None where it needs none."""
    return getattr(linear, "exchange", None)  # narrow layers have one too, or none
