"""Recorded steps are replayed alone on a simulated GPU, with rows that have read their prompts."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import alone
from benchmarks.gpu.alone import Bench
from benchmarks.gpu.asked import Asked
from benchmarks.gpu.ceilings import Ceilings, Work
from benchmarks.gpu.kernels import KernelTime
from benchmarks.gpu.pretended import PretendedGraphs
from benchmarks.gpu.runner import prompts
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.parts import Parts
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.step_shape import Extent
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import load_language_model
from tests.tiny.language_models import write_checkpoint

pytest.importorskip("triton")
SECONDS, ROWS, PROMPT, READ, PAGES = 0.007, 3, 40, 64, 63
CEILINGS = Ceilings(4e12, 7e14)


class CountingGraphs(PretendedGraphs):
    """Each replay takes SECONDS on a simulated clock."""

    clock = 0.0

    def launch(self, rows: Collection[Any], after: Any = None) -> Any:
        self.launched = [(row.sequence.computed, row.token_count, len(row.sequence.token_ids)) for row in rows]
        return super().launch(rows, after)

    def _occupy(self) -> None:
        super()._occupy()
        CountingGraphs.clock += SECONDS


class Event:
    """Replaces a CUDA event."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = float("nan")

    def record(self) -> None:
        self.at = CountingGraphs.clock

    def synchronize(self) -> None: ...

    def elapsed_time(self, later: "Event") -> float:
        return (later.at - self.at) * 1000


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    folder = str(write_checkpoint(tmp_path, "llama"))
    loaded = load_language_model(folder, revision=None, device=torch.device("cpu"), dtype="auto")
    cache, pool = KVCache(probe_layouts(loaded), PAGES, PAGE_SIZE, loaded.device), PagePool(PAGES, PAGE_SIZE)
    runner = ModelRunner(loaded.model, ReferenceAttention(), cache, loaded.device)
    runner.recorded = graphs = CountingGraphs(loaded, runner, 200, SECONDS)
    graphs.record(4, Extent(reading=READ))
    parts = Parts(runner, pool, 4, False, False, True, "")
    config = loaded.model.config
    return Bench(parts, config, Work.of(config), CEILINGS, 1000, narrow=False)


def asked(**kind: Any) -> list[Any]:
    return Asked(**kind).requests(prompts(ROWS, PROMPT, 300), 4, 300)


def test_the_time_is_that_of_a_replay_and_nothing_is_held_behind_it(bench: Bench) -> None:
    decoding, reading = bench.alone(asked())
    assert (decoding.least, decoding.middle, reading.least) == pytest.approx((SECONDS, SECONDS, SECONDS))
    assert decoding.launched == pytest.approx(SECONDS)
    assert reading.launched >= SECONDS  # by a real clock: the host waits for the tokens
    assert (decoding.rows, decoding.tokens, decoding.before) == (ROWS, 1, PROMPT)
    tokens = READ // ROWS
    assert (reading.rows, reading.tokens, reading.before) == (ROWS, tokens, PROMPT - tokens)
    assert decoding.allowed == bench.work.decode_seconds(CEILINGS, ROWS, PROMPT + 1)
    assert bench.parts.runner.recorded.launched == [(PROMPT - tokens, tokens, PROMPT)] * ROWS  # type: ignore[attr-defined]
    assert bench.parts.pool.free_count == PAGES


def test_kernels_are_those_of_the_step_that_was_timed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = KernelTime("qkv", "multiply_rows", 2, 3.0, 3.0, 1.0)
    monkeypatch.setattr(alone, "kernels_of", lambda run, layers, portions, ceilings: run() or [seen])
    steps = bench.alone(asked())
    for step, launched in zip(steps, ((PROMPT, 1, PROMPT + 1), (19, 21, PROMPT)), strict=True):
        assert bench.with_kernels(step, asked()).kernels == [seen]
        assert bench.parts.runner.recorded.launched == [launched] * ROWS  # type: ignore[attr-defined]


def test_choices_are_timed_where_a_gpu_makes_them(bench: Bench) -> None:
    assert bench.chosen_seconds(asked(drawn=True)) == pytest.approx(SECONDS)
    assert bench.chosen_seconds(asked(wish="penalties", all=True)) == pytest.approx(SECONDS)
    assert bench.chosen_seconds(asked(wish="logprobs")) == pytest.approx(SECONDS)
    assert bench.chosen_seconds(asked(wish="structure")) == 0  # which is asked about each token on the host
