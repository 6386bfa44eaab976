"""Linear layers that read the same input, as one product; of a single row by the kernel in `vector`."""

# Kernels are launched with other arguments than they are written with.
# pyright: reportCallIssue=false
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
"""Rows of up to so many numbers are taken whole, so that all weights are on the way before anything is waited for."""
_NUMBERS = 8192
"""Weights that a program takes at once."""
_PART = 2048
"""Numbers of a longer row that it takes at once."""


def takes(linear: AnyLinear) -> bool:
    """Returns whether this is a layer whose weight may become part of a larger one."""
    if isinstance(linear, NarrowLinear):
        return True
    weight = linear.weight
    return (
        type(weight) is nn.Parameter and weight.dtype in KINDS and weight.shape[1] % 8 == 0 and weight.is_contiguous()
    )


class GpuLinear(nn.Module):
    """Computes `[T, in] -> [T, out]` of one or more `nn.Linear` side by side.

    Their weights become parts of one, so that memory holds each once and they can still be used by themselves.
    """

    factors: Tensor | None = None
    """What the products of each weight are multiplied with, float32 `[out]`, where they are."""
    few_rows: FewRows | None = None
    """What computes products of a few rows instead of torch, where there is anything faster."""
    exchange: Exchange | None = None
    """What products go through in `forward`, where other ranks have the rest of the sums."""
    layers: tuple[nn.Linear, ...] = ()
    """Those that it was made of, whose adapters it computes."""
    low_rank: LowRank | None = None
    """What adds to products what adapters compute, where any change these layers."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        first = linears[0]
        self.layers = tuple(linears)  # which makes them no modules of this one
        self.in_features = first.in_features
        self.out_features = sum(linear.out_features for linear in linears)
        self.weight, self.bias, self.exchange = first.weight, first.bias, exchange_of(first)
        if len(linears) > 1:
            # They require gradients as models' weights do: torch multiplies others in another, often slower way.
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
        """Whether adapters change products in the forward that runs, which only `forward` and `add_to` see to."""
        return self.low_rank is not None and self.low_rank.active

    def adapted(self, products: Tensor, inputs: Tensor) -> Tensor:
        """Returns products of these inputs, to which is added in place what adapters compute."""
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
        """Returns `[1, out]` for one row: normalized before, gated behind (`[1, out / 2]`), and added to `residual`."""
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
        """Returns whether products of so many rows are made of parts, and of nothing else; see `unsummed`."""
        kernel = self.few_rows
        if kernel is None or not kernel.takes(count) or self.exchange is not None or self.changed:
            return False
        return self.bias is None and self.factors is None and kernel.tile_of(count).splits > 1

    def unsummed(self, rows: Tensor) -> Tensor:
        """Returns float32 `[splits, T, out]` of rows of a number for which it `is_split`: their sum is the product."""
        assert self.few_rows is not None
        return self.few_rows.unsummed(rows)

    def add_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """Adds the product to `residual` `[T, out]`, in place, and returns that."""
        if self.few_rows is not None and self.few_rows.takes(len(inputs)):
            return self.adapted(self.few_rows(inputs, residual=residual), inputs)
        self.add_many(residual, inputs)
        return self.adapted(residual if self.bias is None else residual.add_(self.bias), inputs)

    def add_many(self, residual: Tensor, inputs: Tensor) -> None:
        """Adds the product without the bias, by torch's own."""
        residual.addmm_(inputs, self.weight.t())

    def give_back(self) -> None:
        """Does nothing: the layers it was made of have their weights still."""

    def extra_repr(self) -> str:
        """Describes the layer as nn.Linear does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def tile_of(width: int, *, gated: bool, narrow: bool) -> tuple[int, int]:
    """Returns how many rows of weights a program takes, of gates and of what they let through each, and of what length.

    Measured on an H200, for the layers of Llamas of 1B and 8B; of narrow ones more at once would need
    more registers than there are.
    """
    if width > _WHOLE:
        return (2 if gated else 4 if narrow else 8), _PART
    block = power(width)
    return min(_NUMBERS // block, 4), block


def agree(linears: Sequence[AnyLinear]) -> bool:
    """Returns whether the layers can be computed side by side."""
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
    """Returns the rows of all in one tensor, of which each is a part from now on."""
    whole = torch.cat([parameter.detach() for parameter in parameters])
    parts = whole.split([len(parameter) for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.data = part
    return whole
