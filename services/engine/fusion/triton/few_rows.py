"""Launches the kernel of `products` for a few rows, and chooses its tiles."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from services.engine.fusion.triton.launch import following
from services.engine.fusion.triton.products import multiply_rows
from services.engine.native.linear import Gate

TILED = (16, 32, 64, 128)
"""Possible rows of a tile."""
MOST_ROWS = 256
"""With more rows, 8-bit weights are better converted once for torch's product than once in each tile."""
_LEAST_UNITS = 32
_PROGRAMS = 2
"""The width of 8-bit weights is split until there are this many programs for each multiprocessor."""
_MOST_SPLITS = 8
_AHEAD = 256
"""Most columns of 16-bit weights that a program loads before it waits for the rows."""


@dataclass(frozen=True)
class Tile:
    """The work of one program of `multiply_rows`, and its launch options."""

    rows: int
    units: int
    block: int
    splits: int
    warps: int = 4
    stages: int = 4
    ahead: int = 0
    """Columns of the weights that are loaded before the program waits for the rows."""
    eager: bool = False
    """Whether loads ahead are all issued at once, which takes more registers; see `at_once`."""
    paired: bool = True
    """See `dotted`. Benchmarks turn it off to measure its effect."""


def tile_for(rows: int, units: int, width: int, processors: int) -> Tile:
    """Returns the tile for `rows` rows and 8-bit weights. There are few different tiles, since each is compiled for
    each shape.

    Chosen by what fits a multiprocessor; `benchmarks.gpu.products` measures others.
    """
    size = size_for(rows)
    small = size <= 32
    tile, block = (64, 128) if small else (128, 64)
    programs, splits = -(-units // tile), 1
    while splits < _MOST_SPLITS and programs * splits < _PROGRAMS * processors and width >= 4 * block * splits:
        splits *= 2
    return Tile(size, tile, block, splits, 4 if small else 8, 5 if small else 3)


def wide_tile_for(rows: int, units: int, width: int, processors: int) -> Tile:
    """Returns the tile for 16-bit weights, which have twice the bytes in as many columns."""
    size, tile, block, splits = size_for(rows), 64, 64, 1
    programs = -(-units // tile)
    while splits < _MOST_SPLITS and programs * splits < processors and width >= 2 * _AHEAD * splits:
        splits *= 2
    length = -(-width // (block * splits)) * block
    ahead = next(columns for columns in (_AHEAD, _AHEAD // 2, block) if columns <= length)
    return Tile(size, tile, block, splits, ahead=ahead)


def wide_tiles_for(rows: int, units: int, width: int, processors: int) -> list[Tile]:
    """Returns the tile of `wide_tile_for`, then others that may be faster on some GPUs.

    One has a longer pipeline, one issues its loads at once, one has fewer splits. Other tile widths were slower for all
    products of a 1B model.
    """
    own = wide_tile_for(rows, units, width, processors)
    return list(dict.fromkeys([own, replace(own, stages=5), replace(own, eager=True), _in_fewer_parts(own, width)]))


def _in_fewer_parts(tile: Tile, width: int) -> Tile:
    """Returns the tile with half as many splits, if all columns of a split can be loaded ahead.

    The kernel that adds up the parts then reads half as much: this saved 1.5 % of a decode step of 32 rows on an H200.
    """
    length = -(-width // tile.splits)
    fits = tile.ahead and tile.splits > 2 and length <= _AHEAD and length & (length - 1) == 0
    return replace(tile, splits=tile.splits // 2, ahead=2 * length, eager=True) if fits else tile


def size_for(rows: int) -> int:
    """Returns the rows of the tile that is used for `rows` rows."""
    return next(size for size in TILED if rows <= size or size == TILED[-1])


class FewRows:
    """Computes products of a few rows with the weight `[out, in]` of a layer."""

    def __init__(
        self, weight: Tensor, factors: Tensor | None, bias: Tensor | None, tiles: Mapping[int, Tile | None]
    ) -> None:
        """`factors` as in `GpuLinear`. `tiles` has the tile for each tile size to be used; None: the default tile."""
        self._weight, self._factors, self._bias, self.tiles = weight, factors, bias, tiles
        self.device = weight.device
        self._processors = processors_of(weight.device)
        # Allocated once for the smallest tiles, since recorded CUDA graphs keep its address.
        places = -(-len(weight) // _LEAST_UNITS) * (MOST_ROWS // TILED[0])
        self._arrivals = torch.zeros(places, dtype=torch.int32, device=self.device)

    def takes(self, count: int) -> bool:
        """Returns whether it is to be used for `count` rows."""
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
        """Returns the product `[T, out]` of `[T, in]`, in dtype `kind`, by default that of the rows.

        With `residual` `[T, out]` the product is added to it in place, and it is returned. With a gate, the result is
        `[T, out / 2]`: activation(first half) * second half.
        """
        tile = tile or self.tile_of(len(rows))
        units = len(self._weight) // 2 if gate else len(self._weight)
        output = rows.new_empty(len(rows), units, dtype=kind) if residual is None else residual
        tiles = -(-len(self._weight) // tile.units) * -(-len(rows) // tile.rows) if tile.splits > 1 else 0
        parts = rows.new_empty(tiles * tile.splits * tile.units * tile.rows, dtype=torch.float32)
        self._launch(rows, tile, parts, output, gate, added=residual is not None)
        return output

    def unsummed(self, rows: Tensor) -> Tensor:
        """Returns float32 parts `[splits, T, out]`; added up in this order they are the product.

        The layer must have neither factors nor a bias.
        """
        tile = _in_fewer_parts(self.tile_of(len(rows)), self._weight.shape[1])
        parts = rows.new_empty(tile.splits, len(rows), len(self._weight), dtype=torch.float32)
        self._launch(rows, tile, parts, rows, Gate.NONE, added=False, unsummed=True)
        return parts

    def tile_of(self, count: int) -> Tile:
        """Returns the tile for `count` rows."""
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
    """Returns the number of multiprocessors of a GPU, or 1 for the CPU."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
