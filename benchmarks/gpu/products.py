"""`python -m benchmarks.gpu.products`: products with weights of 8 bits beside those of torch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from benchmarks.gpu.ceilings import seconds_of
from benchmarks.gpu.shapes import DEFAULT, SHAPES
from benchmarks.options import one_of
from services.engine.fusion.triton.narrow import GpuNarrowLinear, Tile, processors_of, tile_for
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.numbers import NARROW_KINDS, NarrowKind, widened

GPU = torch.device("cuda:0")
_BYTES = 512 << 20
"""Of weights that are read in turn, so that none is found in a cache."""


def main(
    shape: Annotated[str, one_of(DEFAULT, help="Whose layers.")] = "8B",
    quantization: Annotated[str, one_of(NARROW_KINDS, help="Of the weights.")] = "int8",
    rows: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 8, 32, 128, 256],  # noqa: B006
    tiles: Annotated[bool, typer.Option(help="Measures other tiles too, which takes minutes to compile.")] = False,
) -> None:
    """Prints microseconds: torch in bfloat16, ours, making wide and multiplying, ours with columns in their order."""
    table = Table("layer", "rows", "bfloat16", "ours", "GB/s", "wide and torch", "unpaired", "best tile", "its time")
    for name, (units, width) in layers(shape).items():
        for count in rows:
            table.add_row(name, str(count), *_measure(units, width, count, NARROW_KINDS[quantization], tiles))
    Console(width=160).print(table)


def layers(shape: str) -> dict[str, tuple[int, int]]:
    """Returns the products of a layer, outputs and inputs each."""
    config: Any = SHAPES[shape]()
    hidden, feed, width = config.hidden_size, config.intermediate_size, config.head_dim
    inward = width * (config.num_attention_heads + 2 * config.num_key_value_heads)
    outward = width * config.num_attention_heads
    return {
        "qkv": (inward, hidden), "output": (hidden, outward), "gate, up": (2 * feed, hidden), "down": (hidden, feed)
    }  # fmt: skip


@torch.inference_mode()
def _measure(units: int, width: int, count: int, kind: NarrowKind, tiles: bool) -> list[str]:
    copies = -(-_BYTES // (units * width))
    wide = [nn.Linear(width, units, bias=False, dtype=torch.bfloat16, device=GPU) for _ in range(copies)]
    narrow = [GpuNarrowLinear([NarrowLinear(linear, kind, GPU)]) for linear in wide]
    given = torch.randn(count, width, dtype=torch.bfloat16, device=GPU)
    room = torch.empty(units, width, dtype=torch.bfloat16, device=GPU)

    def by_torch(i: int) -> object:
        own = narrow[i]
        assert own.factors is not None
        return functional.linear(given, widened(own.weight, own.factors, room))

    plain, ours = _seconds(lambda i: wide[i](given), copies), _seconds(lambda i: narrow[i](given), copies)
    found = [f"{plain * 1e6:.1f}", f"{ours * 1e6:.1f}", f"{units * width / ours / 1e9:.0f}"]
    found.append(f"{_seconds(by_torch, copies) * 1e6:.1f}")
    if count == 1:
        return [*found, "–", "–", "–"]
    unpaired = replace(tile_for(count, units, width, processors_of(GPU)), paired=False)
    found.append(f"{_tried(narrow, given, unpaired) * 1e6:.1f}")
    if not tiles:
        return [*found, "–", "–"]
    times = {tile: _tried(narrow, given, tile) for tile in _others(count, units, width)}
    best = min(times, key=lambda tile: times[tile])
    return [*found, str(best), f"{times[best] * 1e6:.1f}"]


def _others(count: int, units: int, width: int) -> Iterator[Tile]:
    own = tile_for(count, units, width, processors_of(GPU))
    yield own
    for tile, block, splits, warps in product((64, 128), (64, 128), {own.splits, 2 * own.splits}, (4, 8)):
        if width >= block * splits:
            yield Tile(own.rows, tile, block, splits, warps, own.stages)


def _tried(narrow: list[GpuNarrowLinear], given: torch.Tensor, tile: Tile) -> float:
    try:
        return _seconds(lambda i: narrow[i].of_rows(given, tile=tile), len(narrow))
    except Exception:  # it does not fit
        return float("inf")


def _seconds(work: Callable[[int], object], copies: int) -> float:
    """Returns the time of one call, of many in a recorded sequence: launching each would take longer than it runs."""
    work(0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(copies):
            work(i)
    return median(seconds_of(graph.replay) for _ in range(3)) / copies


if __name__ == "__main__":
    typer.run(main)
