"""`python -m benchmarks.gpu.ways`: a decode step of a whole model with each alternative among which races at load
choose.

Races time products by themselves; here they run between their neighbours. Each group is measured with the winners of
all other groups.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import PreTrainedModel

from benchmarks.gpu.ceilings import times_of
from benchmarks.gpu.runner import prompts, read
from benchmarks.gpu.shapes import DEFAULT, make
from benchmarks.options import one_of
from services.engine.fusion.triton.beginning import StepBeginning
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.few_rows import FewRows, Tile, processors_of, size_for, wide_tiles_for
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.fusion.triton.race import RACED
from services.engine.generation.attention.backend import IMPLEMENTATION, register
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.tiles import raced_tiles
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.parts import EngineSettings, Parts
from services.engine.generation.recorded.step_graphs import StepGraphs
from services.engine.generation.recorded.step_shape import Kind, StepShape
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel

_CACHE, _CHUNK = 16 << 30, 8192
_ROUNDS, _TIMES = 8, 6


@dataclass(frozen=True)
class Group:
    """Alternative ways to compute the same. Exactly one is in use."""

    name: str
    ways: Mapping[str, Callable[[], object]]
    """Functions that choose an alternative, by its name."""
    chosen: str
    """The winner at load."""


def main(
    shape: Annotated[str, one_of(DEFAULT, help="The model.")] = "1B",
    rows: Annotated[int, typer.Option(min=1, help="That decode.")] = 32,
    context: Annotated[int, typer.Option(min=2, help="Tokens of each.")] = 1024,
) -> None:
    """Prints microseconds of recorded steps, replayed one after another, and the difference to the winner at load."""
    if not torch.cuda.is_available():
        sys.exit("This needs a GPU, and torch sees none.")
    register()
    loaded = make(shape, torch.device("cuda:0"))
    with torch.inference_mode():
        parts = paged_parts(loaded, EngineSettings(rows, _CHUNK, cache_bytes=_CACHE, share_prefixes=False))
    loaded.model.set_attn_implementation(IMPLEMENTATION)
    seconds = _clock(loaded, parts, rows, context)
    assert isinstance(parts.runner, ModelRunner)
    table = Table("of", "way", "µs", "more")
    for group in groups(loaded.model, parts.runner, rows):
        best = seconds()
        for name, take in group.ways.items():
            take()
            found = seconds()
            table.add_row(
                group.name, f"{name} *" if name == group.chosen else name, f"{found * 1e6:.1f}",
                f"{(found - best) * 1e6:+.1f}",
            )  # fmt: skip
        group.ways[group.chosen]()
    Console(width=140).print(table, "* what won at load")


def _clock(loaded: LoadedModel, parts: Parts, rows: int, context: int) -> Callable[[], float]:
    """Returns a function that records a step again, and returns its least seconds; infinity if it does not run."""
    runner, pool = parts.runner, parts.pool
    assert isinstance(runner, ModelRunner)
    assert isinstance(runner.backend, TritonAttention)
    graphs = StepGraphs(loaded.model, runner.backend, runner.cache, loaded.device, loaded.context_tokens)
    sequences = [CachedTokens(prompt) for prompt in prompts(rows, context, loaded.vocabulary_size)]
    for each in sequences:
        assert pool.grow(each.pages, context + 1)
    with torch.inference_mode():
        read(parts, sequences, _CHUNK)
    given = [Row(each, 1) for each in sequences]
    shape = StepShape(Kind.DECODING, rows, rows, 1, rows)

    @torch.inference_mode()
    def seconds() -> float:
        try:
            graphs.prepare([shape])
            graphs.fill(given, shape)
            step = graphs.recorded(shape)
            graphs.fill(given, shape)
            return min(times_of(step.graph.replay, rounds=_ROUNDS, times=_TIMES))
        except Exception:  # a compiler raises anything
            return float("inf")

    return seconds


def groups(model: PreTrainedModel, runner: ModelRunner, rows: int) -> Iterator[Group]:
    """Yields the alternatives for a step of `rows` rows. Choosing one changes modules in place."""
    backend = runner.backend
    assert isinstance(backend, TritonAttention)
    layouts = runner.cache.layouts.values()
    key_bytes = min(layout.key_width * layout.dtype.itemsize for layout in layouts)
    own, *others = raced_tiles(backend.tiles.of(rows), key_bytes)
    ways = {str(tile): partial(backend.tiles.choose, rows, tile) for tile in (own, *others)}
    yield Group("attention", ways, str(own))
    if (beginning := StepBeginning(model)).can_merge:
        ways = {
            "three kernels": partial(beginning.merge, rows, False),
            "one kernel": partial(beginning.merge, rows, True),
        }
        yield Group("beginning", ways, "one kernel" if beginning.is_merged(rows) else "three kernels")
    if size_for(rows) not in RACED:
        return
    yield from product_groups(model, rows)
    layers = [each for each in model.modules() if isinstance(each, GpuDecoderLayer) and each.is_split(rows)]
    size = frozenset({size_for(rows)})

    def leave(left: bool, /) -> None:
        for layer in layers:
            layer.unsummed_tiles = layer.unsummed_tiles | size if left else layer.unsummed_tiles - size

    if layers:
        ways = {"own": partial(leave, False), "left to readers": partial(leave, True)}
        yield Group("sums", ways, "left to readers" if size <= layers[0].unsummed_tiles else "own")


def product_groups(model: nn.Module, rows: int) -> Iterator[Group]:
    """Yields the tiles of products with 16-bit weights, for each shape, and gates within products or in a kernel
    behind.
    """
    size, alike = size_for(rows), defaultdict[tuple[int, int], list[GpuLinear]](list)
    for module in model.modules():
        if type(module) is GpuLinear:
            alike[module.out_features, module.in_features].append(module)
    gated = [each for each in model.modules() if isinstance(each, GpuMlp) and type(each.pair) is GpuLinear]
    within = [mlp for mlp in gated if _tile(mlp.few_rows, size)]

    def choose(linears: list[GpuLinear], tile: Tile | None) -> None:
        for linear in linears:
            linear.few_rows = _with_tile(linear.few_rows, linear, size, tile)
        for mlp in within:
            if mlp.pair in linears:
                mlp.few_rows = _with_tile(mlp.few_rows, mlp.pair, size, tile)

    def gate(tile: Tile | None) -> None:
        for mlp in gated:
            mlp.few_rows = _with_tile(mlp.few_rows, mlp.pair, size, tile)

    for (units, width), linears in alike.items():
        own = _tile(linears[0].few_rows, size)
        tiles = dict.fromkeys([None, own, *wide_tiles_for(rows, units, width, processors_of(linears[0].weight.device))])
        ways = {_told(tile): partial(choose, linears, tile) for tile in tiles}
        yield Group(f"products of {units} by {width}", ways, _told(own))
    own = _tile(gated[0].few_rows or gated[0].pair.few_rows, size) if gated else None
    if own is not None:
        ways = {"behind": partial(gate, None), "within": partial(gate, own)}
        yield Group("gates", ways, "within" if within else "behind")


def _with_tile(kernel: FewRows | None, linear: GpuLinear, size: int, tile: Tile | None) -> FewRows | None:
    """Returns a kernel that uses this tile for products of `size` rows, or leaves these to torch; other sizes stay as
    before.
    """
    tiles = {each: known for each, known in (kernel.tiles if kernel else {}).items() if each != size}
    tiles |= {} if tile is None else {size: tile}
    return FewRows(linear.weight, None, linear.bias, tiles) if tiles else None


def _tile(kernel: FewRows | None, size: int) -> Tile | None:
    return kernel.tiles.get(size) if kernel is not None else None


def _told(tile: Tile | None) -> str:
    if tile is None:
        return "torch"
    told = f"{tile.units} by {tile.block}, {tile.splits} splits, {tile.stages} stages, {tile.ahead} ahead"
    return f"{told}, eager" if tile.eager else told


if __name__ == "__main__":
    typer.run(main)
