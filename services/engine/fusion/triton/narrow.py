"""Linear layers with 8-bit weights: kernels for a few rows; for prompts, torch's product with a converted weight."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.engine.fusion.mlp import AnyLinear, ordinary
from services.engine.fusion.triton.few_rows import TILED, FewRows
from services.engine.fusion.triton.linear import GpuLinear, merged
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.numbers import widened


class GpuNarrowLinear(GpuLinear):
    """Computes `[T, in] -> [T, out]` of one or more 8-bit layers, whose weights become views of one merged weight."""

    def __init__(self, linears: Sequence[NarrowLinear]) -> None:
        nn.Module.__init__(self)
        first = linears[0]
        self.in_features = first.in_features
        self.out_features = sum(linear.out_features for linear in linears)
        bits, self.factors, self.bias, self.exchange = first.bits, first.scales, first.bias, first.exchange
        if len(linears) > 1:
            bits = merged([linear.bits for linear in linears])
            self.factors = merged([linear.scales for linear in linears])
            biases = [linear.bias for linear in linears if linear.bias is not None]
            self.bias = nn.Parameter(merged(biases)) if biases else None
        self.weight = nn.Parameter(bits.view(first.number_type), requires_grad=False)
        self._room = room_for(bits.device, first.dtype)
        self._room.reserve(bits.numel())
        self.few_rows = kernel = FewRows(self.weight, self.factors, self.bias, dict.fromkeys(TILED))
        if bits.device.type == "cuda":
            _compile(kernel, self.in_features, first.dtype)

    def of_many(self, rows: Tensor) -> Tensor:
        """See GpuLinear."""
        return functional.linear(rows, self._wide(), self.bias)

    def add_many(self, residual: Tensor, inputs: Tensor) -> None:
        """See GpuLinear."""
        residual.addmm_(inputs, self._wide().t())

    def _wide(self) -> Tensor:
        assert self.factors is not None
        return widened(self.weight, self.factors, self._room.like(self.weight))


@torch.inference_mode()
def _compile(kernel: FewRows, width: int, dtype: torch.dtype) -> None:
    """Runs every kind of tile once, so that none has to be compiled while requests wait."""
    for count in TILED:
        rows = torch.zeros(count, width, dtype=dtype, device=kernel.device)
        kernel(rows, residual=kernel(rows))


class Room:
    """A buffer for one 8-bit weight at a time, converted to the model's dtype."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._numbers = torch.empty(0, dtype=dtype, device=device)

    def reserve(self, count: int) -> None:
        """Makes the buffer hold at least `count` numbers; at load, before the KV cache takes the remaining memory."""
        if len(self._numbers) < count:
            self._numbers = self._numbers.new_empty(count)

    def like(self, weight: Tensor, behind: int = 0) -> Tensor:
        """Returns a view in the weight's shape, `behind` numbers after the buffer's start, with undefined contents."""
        return self._numbers[behind : behind + weight.numel()].view(weight.shape)


@cache
def room_for(device: torch.device, dtype: torch.dtype) -> Room:
    """Returns the one buffer that all layers on a device share."""
    return Room(device, dtype)


def gpu_linear(linears: Sequence[AnyLinear]) -> GpuLinear:
    """Returns the merged product of layers that `agree`, for 8-bit or other weights."""
    narrow = [linear for linear in linears if isinstance(linear, NarrowLinear)]
    return GpuNarrowLinear(narrow) if narrow else GpuLinear(ordinary(linears))
