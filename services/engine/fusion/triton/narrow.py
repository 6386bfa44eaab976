"""Linear layers with weights of 8 bits: kernels for up to some rows, torch's own product for prompts."""

# Kernels are launched with other arguments than they are written with.
# pyright: reportCallIssue=false
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.engine.fusion.mlp import AnyLinear, ordinary
from services.engine.fusion.triton.launch import following
from services.engine.fusion.triton.linear import GpuLinear, merged
from services.engine.fusion.triton.products import multiply_rows
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.numbers import widened

MOST_ROWS = 256
"""Of more, making a weight wide for torch's product is cheaper than making it wide in each tile."""
TILED = (16, 32, 64, 128)
"""Rows of a tile."""
_LEAST_UNITS = 32
_PROGRAMS = 2
"""For each processor, before a width is split no further."""
_MOST_SPLITS = 8


@dataclass(frozen=True)
class Tile:
    """What a program of `multiply_rows` takes, and how it is run."""

    rows: int
    units: int
    block: int
    splits: int
    warps: int = 4
    stages: int = 4
    paired: bool = True
    """See `dotted`; off to show what it brings."""


def tile_for(rows: int, units: int, width: int, processors: int) -> Tile:
    """Returns the tile for so many rows, of which there are few kinds: each is compiled for each layer.

    Chosen by what fits a processor; `benchmarks.gpu.products` measures others.
    """
    size = next(size for size in TILED if rows <= size or size == TILED[-1])
    small = size <= 32
    tile, block = (64, 128) if small else (128, 64)
    programs, splits = -(-units // tile), 1
    while splits < _MOST_SPLITS and programs * splits < _PROGRAMS * processors and width >= 4 * block * splits:
        splits *= 2
    return Tile(size, tile, block, splits, 4 if small else 8, 5 if small else 3)


class GpuNarrowLinear(GpuLinear):
    """Computes `[T, in] -> [T, out]` of one or more narrow layers side by side, whose numbers become parts of one."""

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
        self._processors = processors_of(bits.device)
        # Never made anew, as recorded steps go on using it: one for each of the smallest tiles.
        places = -(-self.out_features // _LEAST_UNITS) * (MOST_ROWS // TILED[0])
        self._arrivals = torch.zeros(places, dtype=torch.int32, device=bits.device)
        if bits.device.type == "cuda":
            self._compile(first.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """See nn.Linear."""
        count = inputs.numel() // self.in_features
        if count > MOST_ROWS or count == 0:
            products = functional.linear(inputs, self._wide(), self.bias)
        else:
            rows = inputs.reshape(count, self.in_features)
            products = self.of_row(rows) if count == 1 else self.of_rows(rows)
        products = products.view(*inputs.shape[:-1], self.out_features)
        return products if self.exchange is None else self.exchange(products)

    def add_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """See GpuLinear."""
        if len(inputs) <= MOST_ROWS:
            return self.of_rows(inputs, residual=residual)
        residual.addmm_(inputs, self._wide().t())
        return residual if self.bias is None else residual.add_(self.bias)

    def of_rows(self, rows: Tensor, *, residual: Tensor | None = None, tile: Tile | None = None) -> Tensor:
        """Returns `[T, out]`; with a residual `[T, out]`, that is added to in place and returned."""
        rows, count, units = rows.contiguous(), len(rows), self.out_features
        tile = tile or tile_for(count, units, self.in_features, self._processors)
        output = rows.new_empty(count, units) if residual is None else residual
        grid = (-(-units // tile.units), -(-count // tile.rows), tile.splits)
        places = grid[0] * grid[1] if tile.splits > 1 else 0
        parts = rows.new_empty(places * tile.splits * tile.units * tile.rows, dtype=torch.float32)
        multiply_rows[grid](
            rows, self.weight, self.factors, rows if self.bias is None else self.bias, output, parts, self._arrivals,
            output, count, UNITS=units, WIDTH=self.in_features, ROWS=tile.rows, TILE=tile.units, BLOCK=tile.block,
            SPLITS=tile.splits, PAIRED=tile.paired, BIAS=self.bias is not None, RESIDUAL=residual is not None,
            **following(rows.device), num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        return output

    @torch.inference_mode()
    def _compile(self, dtype: torch.dtype) -> None:
        """Runs every kind of tile once, which otherwise would be compiled while streams wait."""
        for count in TILED:
            rows = torch.zeros(count, self.in_features, dtype=dtype, device=self.weight.device)
            self.of_rows(rows, residual=self.of_rows(rows))

    def _wide(self) -> Tensor:
        assert self.factors is not None
        return widened(self.weight, self.factors, self._room.like(self.weight))


class Room:
    """Where one weight at a time is made wide."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._numbers = torch.empty(0, dtype=dtype, device=device)

    def reserve(self, count: int) -> None:
        """Makes room for so many numbers, at load, so that it is there when memory is shared out."""
        if len(self._numbers) < count:
            self._numbers = self._numbers.new_empty(count)

    def like(self, weight: Tensor, behind: int = 0) -> Tensor:
        """Returns the room in that shape, behind so many numbers. What was there before is overwritten."""
        return self._numbers[behind : behind + weight.numel()].view(weight.shape)


@cache
def room_for(device: torch.device, dtype: torch.dtype) -> Room:
    """Returns the one room that all layers on a device share."""
    return Room(device, dtype)


@cache
def processors_of(device: torch.device) -> int:
    """Returns how many programs of a kernel run beside each other at least."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def gpu_linear(linears: Sequence[AnyLinear]) -> GpuLinear:
    """Returns what computes layers that agree, side by side."""
    narrow = [linear for linear in linears if isinstance(linear, NarrowLinear)]
    return GpuNarrowLinear(narrow) if narrow else GpuLinear(ordinary(linears))
