"""Linear layers whose inputs are divided among ranks: each multiplies its own, and what all have found is added up."""

from collections.abc import Callable

from torch import Tensor, nn

Exchange = Callable[[Tensor], Tensor]
"""Adds up what all ranks give it, in place, and returns that."""


class PartialLinear(nn.Linear):
    """Computes what the whole layer does, `[..., in / ranks] -> [..., out]`, with this rank's columns of its weight.

    Whatever stands in for it adds the bias, which one rank alone has, before the exchange.
    """

    exchange: Exchange

    def forward(self, input: Tensor) -> Tensor:
        """See nn.Linear."""
        return self.exchange(super().forward(input))


def exchange_of(linear: nn.Module) -> Exchange | None:
    """Returns what the products of a layer's weights go through; None where they are what it computes."""
    return getattr(linear, "exchange", None)  # narrow layers have one too, or none
