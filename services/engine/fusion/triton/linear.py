"""Linear layers that read the same input, computed as one product; a single row by the kernel in `vector`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.engine.fusion.mlp import AnyLinear
from services.engine.fusion.triton.few_rows import FewRows
from services.engine.fusion.triton.launch import following, power
from services.engine.fusion.triton.low_rank import LowRank
from services.engine.fusion.triton.norm import GpuNorm
from services.engine.fusion.triton.vector import multiply_row
from services.engine.narrow.linear import NarrowLinear
from services.engine.native.linear import Gate
from services.engine.parallel.partial_linear import Exchange, exchange_of

KINDS = {torch.float32, torch.bfloat16, torch.float16}
_WHOLE = 4096
"""Input rows of up to this width are one block, so that a program requests all its weights before it waits for
anything.
"""
_NUMBERS = 8192
"""Weights that a program loads at once."""
_PART = 2048
"""Block width for wider rows."""


def takes(linear: AnyLinear) -> bool:
    """Returns whether this layer's weight can become part of a merged weight."""
    if isinstance(linear, NarrowLinear):
        return True
    weight = linear.weight
    return (
        type(weight) is nn.Parameter and weight.dtype in KINDS and weight.shape[1] % 8 == 0 and weight.is_contiguous()
    )


class GpuLinear(nn.Module):
    """Computes `[T, in] -> [T, out]` of one or more `nn.Linear`, whose outputs are concatenated.

    Their weights become views of one merged weight: memory holds each once, and the layers still work by themselves.
    """

    factors: Tensor | None = None
    """Scale of each output's 8-bit weights, float32 `[out]`; None for other weights."""
    few_rows: FewRows | None = None
    """Computes products of a few rows, where that is faster than torch."""
    exchange: Exchange | None = None
    """Sums up the products of all tensor parallel ranks in `forward`, where each rank has a part of the sum."""
    layers: tuple[nn.Linear, ...] = ()
    """The layers that it was built from; it adds the products of their adapters."""
    low_rank: LowRank | None = None
    """Adds the products of adapters, if any change these layers."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        first = linears[0]
        self.layers = tuple(linears)  # in a tuple, so that they are not registered as children
        self.in_features = first.in_features
        self.out_features = sum(linear.out_features for linear in linears)
        self.weight, self.bias, self.exchange = first.weight, first.bias, exchange_of(first)
        if len(linears) > 1:
            # It requires gradients like a model's own weight: torch multiplies others in another, often slower way.
            self.weight = nn.Parameter(merged([linear.weight for linear in linears]))
            biases = [linear.bias for linear in linears if linear.bias is not None]
            self.bias = nn.Parameter(merged(biases)) if biases else None

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        count = inputs.numel() // self.in_features
        if count == 1:
            products = self.of_row(inputs)
        elif self.few_rows is not None and self.few_rows.takes(count):
            products = self.few_rows(inputs.reshape(count, self.in_features))
        else:
            products = self.of_many(inputs)
        products = self.adapted(products.view(*inputs.shape[:-1], self.out_features), inputs)
        return products if self.exchange is None else self.exchange(products)

    @property
    def changed(self) -> bool:
        """Whether adapters change products in the running forward. Only `forward` and `add_to` include the changes."""
        return self.low_rank is not None and self.low_rank.active

    def adapted(self, products: Tensor, inputs: Tensor) -> Tensor:
        """Adds the products of adapters to `products` in place, and returns it."""
        if self.low_rank is not None:
            self.low_rank.add(products, inputs)
        return products

    def of_many(self, rows: Tensor) -> Tensor:
        """Returns `[..., out]` by torch's own product."""
        return functional.linear(rows, self.weight, self.bias)

    def of_row(
        self,
        row: Tensor,
        *,
        norm: GpuNorm | None = None,
        gate: Gate = Gate.NONE,
        residual: Tensor | None = None,
    ) -> Tensor:
        """Returns `[1, out]` of one row: normed first, then gated (`[1, out / 2]`) and added to `residual`, each if
        given.
        """
        units = self.out_features // 2 if gate else self.out_features
        rows, block = tile_of(self.in_features, gated=bool(gate), narrow=self.factors is not None)
        row, output = row.contiguous(), row.new_empty(1, units)
        multiply_row[(-(-units // rows),)](
            row, self.weight, row if self.factors is None else self.factors,
            row if norm is None else norm.scales, row if self.bias is None else self.bias,
            row if residual is None else residual, output, 0.0 if norm is None else norm.epsilon,
            UNITS=units, WIDTH=self.in_features, ROWS=rows, BLOCK=block,
            FACTORS=self.factors is not None, NORM=norm is not None, BIAS=self.bias is not None,
            RESIDUAL=residual is not None, ACTIVATION=int(gate),
            **following(row.device), num_warps=4,
        )  # fmt: skip
        return output

    def is_split(self, count: int) -> bool:
        """Returns whether the product of `count` rows is a plain split-K product, so that `unsummed` can be used."""
        kernel = self.few_rows
        if kernel is None or not kernel.takes(count) or self.exchange is not None or self.changed:
            return False
        return self.bias is None and self.factors is None and kernel.tile_of(count).splits > 1

    def unsummed(self, rows: Tensor) -> Tensor:
        """Returns the float32 parts `[splits, T, out]` of a product. Their sum is the product. Requires `is_split`."""
        assert self.few_rows is not None
        return self.few_rows.unsummed(rows)

    def add_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """Adds the product of `inputs` `[T, in]` to `residual` `[T, out]` in place, and returns that."""
        if self.few_rows is not None and self.few_rows.takes(len(inputs)):
            return self.adapted(self.few_rows(inputs, residual=residual), inputs)
        self.add_many(residual, inputs)
        return self.adapted(residual if self.bias is None else residual.add_(self.bias), inputs)

    def add_many(self, residual: Tensor, inputs: Tensor) -> None:
        """Adds the product without the bias, by torch's own product."""
        residual.addmm_(inputs, self.weight.t())

    def give_back(self) -> None:
        """Does nothing: the layers that it was built from still have their weights."""

    def extra_repr(self) -> str:
        """Describes the layer as nn.Linear does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def tile_of(width: int, *, gated: bool, narrow: bool) -> tuple[int, int]:
    """Returns the rows of the weight and the columns of a program's tile; a gated one loads as many rows of each half.

    Measured on an H200 for the layers of Llamas of 1B and 8B. Larger tiles of 8-bit weights would run out of registers.
    """
    if width > _WHOLE:
        return (2 if gated else 4 if narrow else 8), _PART
    block = power(width)
    return min(_NUMBERS // block, 4), block


def agree(linears: Sequence[AnyLinear]) -> bool:
    """Returns whether these layers can be merged into one product."""
    first = linears[0]
    return all(
        takes(linear)
        and linear.in_features == first.in_features
        and linear.weight.dtype is first.weight.dtype
        and getattr(linear, "kind", None) == getattr(first, "kind", None)
        and (linear.bias is None) == (first.bias is None)
        for linear in linears
    )


@torch.inference_mode(False)
@torch.no_grad()
def merged(parameters: Sequence[Tensor]) -> Tensor:
    """Returns the rows of all parameters in one tensor. The parameters become views of it."""
    whole = torch.cat([parameter.detach() for parameter in parameters])
    parts = whole.split([len(parameter) for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part
    return whole
