"""Products of a few rows, by the kernel in `products`: what its programs take, and its launch."""

# Kernels are launched with other arguments than they are written with.
# pyright: reportCallIssue=false
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from services.engine.fusion.triton.launch import following
from services.engine.fusion.triton.products import multiply_rows
from services.engine.native.linear import Gate

TILED = (16, 32, 64, 128)
"""Rows of a tile."""
MOST_ROWS = 256
"""Of more, making a narrow weight wide for torch's product is cheaper than making it wide in each tile."""
_LEAST_UNITS = 32
_PROGRAMS = 2
"""For each processor, before the width of narrow weights is split no further."""
_MOST_SPLITS = 8
_AHEAD = 256
"""Columns of weights of 16 bits that a program reads before the rows are there, at most."""


@dataclass(frozen=True)
class Tile:
    """What a program of `multiply_rows` takes, and how it is run."""

    rows: int
    units: int
    block: int
    splits: int
    warps: int = 4
    stages: int = 4
    ahead: int = 0
    """Columns of the weights that are read before the rows are waited for."""
    eager: bool = False
    """Whether what is loaded once is on its way at once, for more registers; see `at_once`."""
    paired: bool = True
    """See `dotted`; off to show what it brings."""


def tile_for(rows: int, units: int, width: int, processors: int) -> Tile:
    """Returns the tile for so many rows and narrow weights, of which there are few: each is compiled for each layer.

    Chosen by what fits a processor; `benchmarks.gpu.products` measures others.
    """
    size = size_for(rows)
    small = size <= 32
    tile, block = (64, 128) if small else (128, 64)
    programs, splits = -(-units // tile), 1
    while splits < _MOST_SPLITS and programs * splits < _PROGRAMS * processors and width >= 4 * block * splits:
        splits *= 2
    return Tile(size, tile, block, splits, 4 if small else 8, 5 if small else 3)


def wide_tile_for(rows: int, units: int, width: int, processors: int) -> Tile:
    """Returns the same for weights of 16 bits, of which twice as much is on the way in as many columns."""
    size, tile, block, splits = size_for(rows), 64, 64, 1
    programs = -(-units // tile)
    while splits < _MOST_SPLITS and programs * splits < processors and width >= 2 * _AHEAD * splits:
        splits *= 2
    length = -(-width // (block * splits)) * block
    ahead = next(columns for columns in (_AHEAD, _AHEAD // 2, block) if columns <= length)
    return Tile(size, tile, block, splits, ahead=ahead)


def wide_tiles_for(rows: int, units: int, width: int, processors: int) -> list[Tile]:
    """Returns tiles that may be faster on some GPU than that of `wide_tile_for`, behind that one.

    One has more on its way, an eager one asks for more at once, and one has fewer parts to add up. Narrower and wider
    ones were slower for all products of a 1B.
    """
    own = wide_tile_for(rows, units, width, processors)
    return list(dict.fromkeys([own, replace(own, stages=5), replace(own, eager=True), _in_fewer_parts(own, width)]))


def _in_fewer_parts(tile: Tile, width: int) -> Tile:
    """Returns the tile with half as many splits where all columns of those can be read ahead.

    Whoever adds up the parts has half as much to read: a decode step of 32 rows took 1.5 % less on an H200.
    """
    length = -(-width // tile.splits)
    fits = tile.ahead and tile.splits > 2 and length <= _AHEAD and length & (length - 1) == 0
    return replace(tile, splits=tile.splits // 2, ahead=2 * length, eager=True) if fits else tile


def size_for(rows: int) -> int:
    """Returns how many rows a tile has for so many."""
    return next(size for size in TILED if rows <= size or size == TILED[-1])


class FewRows:
    """Computes the products of a few rows with the weight `[out, in]` of a layer."""

    def __init__(
        self, weight: Tensor, factors: Tensor | None, bias: Tensor | None, tiles: Mapping[int, Tile | None]
    ) -> None:
        """`factors` as in `GpuLinear`. It is to be used for numbers of rows with tiles of the sizes of `tiles`, by
        those, or where there is none by one that is chosen here.
        """
        self._weight, self._factors, self._bias, self.tiles = weight, factors, bias, tiles
        self.device = weight.device
        self._processors = processors_of(weight.device)
        # Never made anew, as recorded steps go on using it: one for each of the smallest tiles.
        places = -(-len(weight) // _LEAST_UNITS) * (MOST_ROWS // TILED[0])
        self._arrivals = torch.zeros(places, dtype=torch.int32, device=self.device)

    def takes(self, count: int) -> bool:
        """Returns whether it is to be used for so many rows."""
        return 0 < count <= MOST_ROWS and size_for(count) in self.tiles

    def __call__(
        self,
        rows: Tensor,
        *,
        residual: Tensor | None = None,
        gate: Gate = Gate.NONE,
        tile: Tile | None = None,
        kind: torch.dtype | None = None,
    ) -> Tensor:
        """Returns `[T, out]` of `[T, in]`, in the type of the rows if no `kind` is given; with a residual `[T, out]`,
        that is added to in place and returned.

        With a gate `[T, out / 2]` is returned: what the first half of the products lets through of the second.
        """
        tile = tile or self.tile_of(len(rows))
        units = len(self._weight) // 2 if gate else len(self._weight)
        output = rows.new_empty(len(rows), units, dtype=kind) if residual is None else residual
        tiles = -(-len(self._weight) // tile.units) * -(-len(rows) // tile.rows) if tile.splits > 1 else 0
        parts = rows.new_empty(tiles * tile.splits * tile.units * tile.rows, dtype=torch.float32)
        self._launch(rows, tile, parts, output, gate, added=residual is not None)
        return output

    def unsummed(self, rows: Tensor) -> Tensor:
        """Returns float32 `[splits, T, out]`, which are the product once they are added up in their order.

        There must be neither factors nor a bias.
        """
        tile = _in_fewer_parts(self.tile_of(len(rows)), self._weight.shape[1])
        parts = rows.new_empty(tile.splits, len(rows), len(self._weight), dtype=torch.float32)
        self._launch(rows, tile, parts, rows, Gate.NONE, added=False, unsummed=True)
        return parts

    def tile_of(self, count: int) -> Tile:
        """Returns the tile for so many rows."""
        choose = wide_tile_for if self._factors is None else tile_for
        return self.tiles.get(size_for(count)) or choose(count, *self._weight.shape, self._processors)

    def _launch(
        self,
        rows: Tensor,
        tile: Tile,
        parts: Tensor,
        output: Tensor,
        gate: Gate,
        *,
        added: bool,
        unsummed: bool = False,
    ) -> None:
        rows, count, (units, width) = rows.contiguous(), len(rows), self._weight.shape
        multiply_rows[(-(-units // tile.units), -(-count // tile.rows), tile.splits)](
            rows, self._weight, rows if self._factors is None else self._factors,
            rows if self._bias is None else self._bias, output, parts, self._arrivals, output, count,
            UNITS=units // 2 if gate else units, WIDTH=width, ROWS=tile.rows, TILE=tile.units, BLOCK=tile.block,
            SPLITS=tile.splits, AHEAD=tile.ahead, EAGER=tile.eager, PAIRED=tile.paired,
            FACTORS=self._factors is not None, BIAS=self._bias is not None, RESIDUAL=added, ACTIVATION=int(gate),
            UNSUMMED=unsummed, **following(rows.device), num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip


@cache
def processors_of(device: torch.device) -> int:
    """Returns how many programs of a kernel run beside each other at least."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
