"""Tiles of the decode kernel, and who adds up split-K products, are raced in recorded steps, with simulated clocks."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from tests.services.engine.kernel_devices import INTERPRETED, shorten

pytest.importorskip("triton")
from services.engine.fusion.substitution import Substitutions
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.few_rows import FewRows, Tile
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton import tiles
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.attention.triton.tiles import DecodeTile
from services.engine.generation.recorded import tile_race
from services.engine.generation.recorded.step_graph import StepGraph
from services.engine.generation.recorded.step_shape import StepShape
from services.engine.generation.recorded.tile_race import TileRace
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU, PAGES = torch.device("cpu"), 40
ALONE, TOGETHER = tiles.DecodeTiles().of(1), tiles.DecodeTiles().of(2)
OTHER, WRONG, THIRD = DecodeTile(16, 2, 8), DecodeTile(32, 4, 4), DecodeTile(16, 1, 4)


class Race:
    """A race of a model with one layer, whose keys are wider than a program loads at once."""

    timed: Any = None
    """What was timed last."""

    def __init__(
        self,
        loaded: LoadedModel,
        graphs: type[PlayedGraphs] = PlayedGraphs,
        vocabulary: int | None = None,
        *,
        by_kernels: bool = False,
    ) -> None:
        shorten(loaded.model)
        cache, self.pool = KVCache(probe_layouts(loaded), PAGES, PAGE_SIZE, CPU, by_token=True), PagePool(40, PAGE_SIZE)
        self.backend = TritonAttention(CPU)
        self.backend.processors = 1  # keeps the number of interpreted programs small
        runner = ModelRunner(loaded.model, self.backend, cache, CPU)
        runner.allowed_error = 1e-4
        if by_kernels:
            read = partial(engine_logits, runner, self.pool, torch.tensor([[7, 9]]))
            fuse_on_gpu(Substitutions(loaded.model), loaded.model, self.backend, read, 64)
        self.graphs = graphs(loaded.model, self.backend, cache, CPU, 64)
        self._race = TileRace(self.graphs, runner, self.pool, loaded.model, vocabulary or loaded.vocabulary_size)

    def run(self, most: int, seconds_of: Callable[[int, DecodeTile], float], seconds: float = math.inf) -> None:
        """Runs the race; `seconds_of` returns the time of a step of so many rows with a tile."""

        def timer(replayed: Any) -> float:
            size, self.timed = replayed.shape.size, replayed
            return seconds_of(size, self.backend.tiles.of(size))

        self._race.run(most, timer, seconds)
        assert self.pool.free_count == PAGES


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_race, "_LEAST_CONTEXT", 64)
    monkeypatch.setattr(tiles, "RACED", (OTHER,))


def test_each_number_of_rows_has_the_tile_that_saves_enough(fresh_llama: LoadedModel) -> None:
    race = Race(fresh_llama)
    race.run(2, lambda size, tile: 1.0 - (tile == OTHER) * {1: 0.005, 2: 0.02}[size])
    assert [race.backend.tiles.of(count) for count in (1, 2, 16, 17)] == [ALONE, OTHER, OTHER, TOGETHER]
    assert race.backend.programs(2) == 2 * race.backend.programs(17)


def test_tiles_that_fail_or_compute_something_else_are_left_out(
    fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tiles, "RACED", (OTHER, WRONG, THIRD))

    class Failing(PlayedGraphs):
        def recorded(self, shape: StepShape) -> StepGraph:
            tile = self._backend.tiles.of(shape.size)
            if tile == OTHER:
                raise RuntimeError("out of resources")
            graph = super().recorded(shape)
            if tile == WRONG:
                replay = graph.graph.replay
                graph.graph.replay = lambda: (replay(), graph.logits.mul_(1.1))  # type: ignore[method-assign]
            return graph

    race = Race(fresh_llama, Failing)
    with caplog.at_level(logging.INFO):
        race.run(1, lambda _, tile: {OTHER: 0.5, WRONG: 0.6, THIRD: 0.7}.get(tile, 1.0))
    assert race.backend.tiles.of(1) == THIRD
    told = [record.getMessage() for record in caplog.records if "is not tried" in record.getMessage()]
    assert [line.split(": ")[1].split(" (")[0] for line in told] == ["out of resources", "it computes something else"]


def test_without_time_or_room_for_contexts_nothing_is_tried(
    fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    race, told = Race(fresh_llama), list[DecodeTile]()
    race.run(1, lambda _, tile: told.append(tile) or 1.0, seconds=0)
    assert set(told) == {ALONE}
    monkeypatch.setattr(tile_race, "_LEAST_CONTEXT", 65)
    race.run(2, lambda *_: pytest.fail("it was timed"))
    assert [race.backend.tiles.of(count) for count in (1, 2)] == [ALONE, TOGETHER]


def test_rows_have_tokens_that_the_model_knows(fresh_llama: LoadedModel) -> None:
    width = fresh_llama.model.config.hidden_size
    fresh_llama.model.set_input_embeddings(nn.Embedding(1, width))
    race = Race(fresh_llama, vocabulary=1)
    race.run(2, lambda _, tile: 1.0 - 0.5 * (tile == OTHER))
    assert [race.backend.tiles.of(count) for count in (1, 2)] == [OTHER, OTHER]


@pytest.mark.parametrize("wrong", [False, True])
def test_sums_are_left_to_readers_where_that_saves_enough(
    fresh_llama: LoadedModel, wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noting(PlayedGraphs):
        def recorded(self, shape: StepShape) -> StepGraph:
            graph: Any = super().recorded(shape)
            graph.graph.left = layer.unsummed_tiles
            return graph

    monkeypatch.setattr(tiles, "RACED", ())
    race = Race(fresh_llama, Noting, by_kernels=True)
    (layer,) = (module for module in fresh_llama.model.modules() if isinstance(module, GpuDecoderLayer))
    for linear in (module for module in layer.modules() if isinstance(module, GpuLinear)):
        linear.few_rows = FewRows(linear.weight, None, None, {16: Tile(16, 16, 16, 2)})
    if wrong:
        unsummed = FewRows.unsummed
        monkeypatch.setattr(FewRows, "unsummed", lambda kernel, rows: 2 * unsummed(kernel, rows))
    race.run(2, lambda *_: 0.98 if race.timed.left else 1.0)
    assert layer.unsummed_tiles == (frozenset() if wrong else {16})


def test_a_race_that_fails_leaves_no_pages_behind(fresh_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    race = Race(fresh_llama)
    monkeypatch.setattr(KVCache, "write", full)
    with pytest.raises(torch.OutOfMemoryError):
        race.run(2, lambda *_: pytest.fail("it was timed"))
    assert race.pool.free_count == PAGES


@pytest.mark.parametrize("kind", ["faster", "no faster", "depends on tokens besides"])
def test_steps_begin_with_one_kernel_where_that_is_faster_and_the_same(
    fresh_llama: LoadedModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noting(PlayedGraphs):
        def recorded(self, shape: StepShape) -> StepGraph:
            graph: Any = super().recorded(shape)
            graph.graph.merged = self.beginning.is_merged(shape.size)
            return graph

    def besides(_: nn.Module, arguments: object, named: dict[str, Any], output: Any) -> None:
        output.logits += 1e-6 * (named.get("input_ids") is not None)

    monkeypatch.setattr(tiles, "RACED", ())
    race = Race(fresh_llama, Noting, by_kernels=True)
    if kind == "depends on tokens besides":
        fresh_llama.model.register_forward_hook(besides, with_kwargs=True)
    saved = 0.001 if kind == "no faster" else 0.005
    race.run(2, lambda size, _: 1.0 - saved * race.timed.merged)
    beginning = race.graphs.beginning
    assert [beginning.is_merged(rows) for rows in (1, 2, 16, 17)] == [kind == "faster"] * 3 + [False]
