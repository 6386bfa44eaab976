"""`python -m benchmarks.gpu.products`: our products of a few rows against torch's."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from benchmarks.gpu.ceilings import seconds_of
from benchmarks.gpu.portions import products_of
from benchmarks.gpu.shapes import DEFAULT, SHAPES
from benchmarks.options import one_of
from services.engine.fusion.triton.few_rows import FewRows, Tile, processors_of, tile_for, wide_tile_for
from services.engine.fusion.triton.narrow import GpuNarrowLinear
from services.engine.narrow.linear import NarrowLinear
from services.engine.narrow.numbers import NARROW_KINDS, NarrowKind, widened

GPU = torch.device("cuda:0")
_BYTES = 512 << 20
"""Bytes of weights that are read in turn, so that they come from memory, not from a cache."""


def main(
    shape: Annotated[str, one_of(DEFAULT, help="Whose layers.")] = "8B",
    quantization: Annotated[str, one_of(("none", *NARROW_KINDS), help="Of the weights.")] = "int8",
    rows: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 8, 32, 128, 256],  # noqa: B006
    tiles: Annotated[bool, typer.Option(help="Measures other tiles too, which takes minutes to compile.")] = False,
) -> None:
    """Prints microseconds: torch in bfloat16, our kernel, converting the weight and torch's product, and our kernel
    without an optimization of its tile: permuted columns for 8-bit weights, loading ahead for others.
    """
    table = Table("layer", "rows", "bfloat16", "ours", "GB/s", "wide and torch", "plain", "best tile", "its time")
    measure = partial(_narrow, kind=NARROW_KINDS[quantization]) if quantization != "none" else _wide
    for name, (units, width) in products_of(SHAPES[shape]()).items():
        for count in rows:
            table.add_row(name, str(count), *measure(units, width, count, tiles))
    Console(width=160).print(table)


@torch.inference_mode()
def _narrow(units: int, width: int, count: int, tiles: bool, kind: NarrowKind) -> list[str]:
    wide, given = _drawn(units, width, count)
    narrow = [GpuNarrowLinear([NarrowLinear(linear, kind, GPU)]) for linear in wide]
    room = torch.empty(units, width, dtype=torch.bfloat16, device=GPU)

    def by_torch(i: int) -> object:
        own = narrow[i]
        assert own.factors is not None
        return functional.linear(given, widened(own.weight, own.factors, room))

    copies = len(wide)
    plain, ours = _seconds(lambda i: wide[i](given), copies), _seconds(lambda i: narrow[i](given), copies)
    found = [_told(plain), _told(ours), f"{units * width / ours / 1e9:.0f}", _told(_seconds(by_torch, copies))]
    if count == 1:
        return [*found, "–", "–", "–"]
    kernels = [kernel for one in narrow if (kernel := one.few_rows) is not None]
    own = tile_for(count, units, width, processors_of(GPU))
    found.append(_told(_tried(kernels, given, replace(own, paired=False))))
    return found + (_best(kernels, given, own, width) if tiles else ["–", "–"])


@torch.inference_mode()
def _wide(units: int, width: int, count: int, tiles: bool) -> list[str]:
    wide, given = _drawn(units, width, count)
    kernels = [FewRows(linear.weight, None, None, {}) for linear in wide]
    own = wide_tile_for(count, units, width, processors_of(GPU))
    ours = _tried(kernels, given, own)
    found = [_told(_seconds(lambda i: wide[i](given), len(wide))), _told(ours), f"{2 * units * width / ours / 1e9:.0f}"]
    found += ["–", _told(_tried(kernels, given, replace(own, ahead=0)))]
    return found + (_best(kernels, given, own, width) if tiles else ["–", "–"])


def _drawn(units: int, width: int, count: int) -> tuple[list[nn.Linear], torch.Tensor]:
    copies = -(-_BYTES // (units * width))
    wide = [nn.Linear(width, units, bias=False, dtype=torch.bfloat16, device=GPU) for _ in range(copies)]
    return wide, torch.randn(count, width, dtype=torch.bfloat16, device=GPU)


def _best(kernels: list[FewRows], given: torch.Tensor, own: Tile, width: int) -> list[str]:
    times = {tile: _tried(kernels, given, tile) for tile in _others(own, width)}
    best = min(times, key=lambda tile: times[tile])
    return [str(best), _told(times[best])]


def _others(own: Tile, width: int) -> Iterator[Tile]:
    yield own
    aheads = {own.ahead, 0} if own.ahead else {0}
    splits = {max(own.splits // 2, 1), own.splits, 2 * own.splits}
    for tile, block, split, warps, ahead in product((64, 128), (64, 128), splits, (4, 8), aheads):
        length = -(-width // (block * split)) * block
        if width >= block * split and ahead <= length:
            yield Tile(own.rows, tile, block, split, warps, own.stages, ahead)


def _tried(kernels: list[FewRows], given: torch.Tensor, tile: Tile) -> float:
    try:
        return _seconds(lambda i: kernels[i](given, tile=tile), len(kernels))
    except Exception:  # it does not fit a multiprocessor
        return float("inf")


def _told(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"


def _seconds(work: Callable[[int], object], copies: int) -> float:
    """Returns the seconds of one call, from a recording of many: launching each would take longer than it runs."""
    work(0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(copies):
            work(i)
    return median(seconds_of(graph.replay) for _ in range(3)) / copies


if __name__ == "__main__":
    typer.run(main)
