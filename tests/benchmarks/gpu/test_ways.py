import pytest
import torch
from torch import nn

pytest.importorskip("triton")
from benchmarks.gpu.ways import product_groups
from services.engine.fusion.triton.few_rows import FewRows, Tile, wide_tile_for
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.native.linear import Gate

ROWS = 32


class Layer(nn.Module):
    """Two products and a gated layer, some of which won a race."""

    def __init__(self) -> None:
        super().__init__()
        self.output = GpuLinear([_linear(64, 64)])
        self.mlp = GpuMlp(GpuLinear([_linear(64, 96), _linear(64, 96)]), GpuLinear([_linear(96, 64)]), Gate.SILU)
        weight, tile = self.mlp.pair.weight, wide_tile_for(ROWS, 192, 64, 1)
        self.mlp.pair.few_rows = FewRows(weight, None, None, {16: None, ROWS: tile})
        self.mlp.few_rows = FewRows(weight, None, None, {ROWS: tile})

    @property
    def tiles(self) -> tuple[tuple[tuple[int, Tile | None], ...], ...]:
        linears = (self.output.few_rows, self.mlp.pair.few_rows, self.mlp.down.few_rows, self.mlp.few_rows)
        return tuple(tuple(kernel.tiles.items()) if kernel else () for kernel in linears)


def test_each_way_is_taken_in_all_layers_and_what_won_comes_back() -> None:
    one, other = Layer(), Layer()
    won, names = one.tiles, list[str]()
    for group in product_groups(nn.ModuleList([one, other]), ROWS):
        seen = set[object]()
        for take in group.ways.values():
            take()
            assert one.tiles == other.tiles
            seen.add(one.tiles)
        assert len(seen) == len(group.ways) >= 2
        group.ways[group.chosen]()
        assert one.tiles == other.tiles == won
        names.append(group.name)
    assert names == ["products of 64 by 64", "products of 192 by 64", "products of 64 by 96", "gates"]


def _linear(width: int, units: int) -> nn.Linear:
    return nn.Linear(width, units, bias=False, dtype=torch.bfloat16)
