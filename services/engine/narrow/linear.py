"""A linear layer with an 8-bit weight."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_map

from services.engine.narrow.numbers import Narrowed, NarrowKind, narrowed, widened
from services.engine.parallel.partial_linear import Exchange


class NarrowLinear(nn.Module):
    """Computes `[..., in] -> [..., out]`, and converts the weight to the model's dtype at each call.

    It is slow and simple: the reference for the kernels.
    """

    exchange: Exchange | None = None
    """The all-reduce of the product with its bias, where other ranks have parts of the sum."""

    def __init__(
        self, linear: nn.Linear, kind: NarrowKind, device: torch.device, known: Narrowed | None = None
    ) -> None:
        """Rounds a copy of the weight on `device`. The weight is not read if its rounded numbers are `known`."""
        super().__init__()
        self.kind: NarrowKind = kind
        self.dtype = linear.weight.dtype
        numbers, scales = known or narrowed(linear.weight.to(device), kind)
        self.out_features, self.in_features = numbers.shape
        self.number_type = numbers.dtype
        # A parameter, so that parameter counts include it; int8, so that nothing takes its dtype for the model's.
        self.bits = nn.Parameter(numbers.view(torch.int8), requires_grad=False)
        self.register_buffer("scales", scales)
        self.scales: Tensor
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().to(device))

    @property
    def numbers(self) -> Tensor:
        """The 8-bit numbers `[out, in]`; times `scales` they are the weight."""
        return self.bits.view(self.number_type)

    @property
    def weight(self) -> Tensor:
        """A stand-in for models that read the weight themselves."""
        return WideWeight(self)

    def widened(self) -> Tensor:
        """Returns the weight `[out, in]` in the dtype of the computation."""
        output = torch.empty(self.out_features, self.in_features, dtype=self.dtype, device=self.bits.device)
        return widened(self.numbers, self.scales, output)

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        products = functional.linear(inputs, self.widened(), self.bias)
        return products if self.exchange is None else self.exchange(products)

    def extra_repr(self) -> str:
        """Describes the layer as nn.Linear does."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}, kind={self.kind}"


class WideWeight(Tensor):
    """Has the shape and dtype of the weight, and converts the 8-bit numbers whenever an operation uses it."""

    _layer: NarrowLinear

    @staticmethod
    def __new__(cls, layer: NarrowLinear) -> "WideWeight":
        """Represents the weight of `layer`."""
        shape = (layer.out_features, layer.in_features)
        made = Tensor._make_wrapper_subclass(cls, shape, dtype=layer.dtype, device=layer.bits.device)  # type: ignore[attr-defined]
        made._layer = layer
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """See Tensor."""

        def whole(value: Any) -> Any:
            return value._layer.widened() if isinstance(value, WideWeight) else value

        return func(*tree_map(whole, args), **tree_map(whole, kwargs or {}))
