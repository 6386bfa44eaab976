"""Rows with adapters, where layers are kernels and steps are recorded: both are simulated here."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from services.engine.adapters import beside
from services.engine.adapters.pairs import Pair
from services.engine.fusion.substitution import Substitutions
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.adapter_check import verify_adapters
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from tests.services.engine.generation.sequences import sequence as sequence_of
from tests.services.engine.kernel_devices import INTERPRETED, shorten
from tests.tiny.adapted import adapted

pytest.importorskip("triton")
from services.engine.fusion.triton import joining
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.joining import join
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.recorded.recording import recorded_error
from services.engine.generation.recorded.step_graph import Recordings, StepGraph
from services.engine.generation.recorded.step_shape import Extent, StepShape
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")
NAMES = ("root", "", "wide", "part")
STEPS = 3


class Graphs(PlayedGraphs):
    def recorded(self, shape: StepShape) -> StepGraph:
        numbers = self._inputs.parts(shape)[4]
        assert not shape.adapted or (numbers == -1).all()  # other numbers may belong to no adapter
        return super().recorded(shape)


class Adapted:
    """A model with adapters beside it: first with its own modules, then with kernels and recorded steps."""

    def __init__(self, folder: Path) -> None:
        self.loaded = loaded = adapted(folder).load()
        shorten(loaded.model)
        assert loaded.adapters is not None
        there, self.adapters = dict(loaded.model.named_modules()), loaded.adapters
        self.adapters.layers = {name: layer for name, layer in self.adapters.layers.items() if name in there}
        cache, self.pool = KVCache(probe_layouts(loaded), 24, PAGE_SIZE, CPU, by_token=True), PagePool(24, PAGE_SIZE)
        made = partial(ModelRunner, loaded.model, cache=cache, device=CPU, adapters=loaded.adapters)
        plain, backend = made(backend=ReferenceAttention()), TritonAttention(CPU)
        self.expected = self.greedy(plain)
        self.runner, self.substitutions = made(backend=backend), Substitutions(loaded.model)
        run = partial(engine_logits, self.runner, self.pool, torch.tensor([[7, 9, 40]]))
        fuse_on_gpu(self.substitutions, loaded.model, backend, run, loaded.context_tokens)
        self.adapters.set_aside = self.substitutions.set_aside
        self.graphs = Graphs(loaded.model, backend, cache, CPU, 64, self.adapters)

    def read(self, runner: ModelRunner, names: Sequence[str] = NAMES) -> tuple[list[Row[CachedTokens]], torch.Tensor]:
        """Returns rows that decode after their prompts were read, and the logits of the prompts."""
        sequences = [sequence_of([7 + i, 9], adapter=name) for i, name in enumerate(names)]
        for one in sequences:
            self.pool.grow(one.pages, 2 + STEPS)
        logits = runner.run([Row(one, 2) for one in sequences])
        for one, token in zip(sequences, logits.argmax(-1).tolist(), strict=True):
            one.token_ids.append(token)
            one.computed = 2
        return [Row(one, 1, decodes=True) for one in sequences], logits

    def greedy(self, runner: ModelRunner) -> list[torch.Tensor]:
        """Returns the logits of the prompts, and of each greedy token after them."""
        rows, logits = self.read(runner)
        found = [logits]
        for _ in range(STEPS - 1):
            found.append(runner.run(rows))
            for row, token in zip(rows, found[-1].argmax(-1).tolist(), strict=True):
                row.sequence.token_ids.append(token)
                row.sequence.computed += 1
        for row in rows:
            self.pool.release(row.sequence.pages)
        return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    model = Adapted(tmp_path_factory.mktemp("adapted"))
    join(model.adapters, model.loaded.model)
    assert model.adapters.joined
    assert isinstance(model.loaded.model.get_decoder().layers[0], GpuDecoderLayer)
    # Three sizes, each with adapters, without them, and with a recorded choice of tokens.
    assert model.graphs.record(4, Extent(adapted=True)) == Recordings(9, 9, 0)
    return model


def recorded(model: Adapted, rows: list[Row[CachedTokens]]) -> tuple[StepShape, torch.Tensor]:
    shape = model.graphs.shape_for(rows)
    assert shape is not None
    return shape, model.graphs.run(rows, shape)


def test_they_share_recorded_steps_with_others_whose_bits_stay(model: Adapted) -> None:
    rows, logits = model.read(model.runner)
    torch.testing.assert_close(logits, model.expected[0], rtol=1e-3, atol=1e-4)
    shape, found = recorded(model, rows)
    torch.testing.assert_close(found, model.expected[1], rtol=1e-3, atol=1e-4)
    assert shape.adapted
    plain, _ = model.read(model.runner, ["", "", "", ""])
    shape, without = recorded(model, plain)
    assert not shape.adapted
    assert torch.equal(found[1], without[1])
    assert min(float((found[i] - without[i]).abs().max()) for i in (0, 2)) > 0.01
    for i in (0, 2):
        _, alone = recorded(model, rows[i : i + 1])
        torch.testing.assert_close(alone[0], found[i], rtol=1e-3, atol=1e-4)
    for row in (*rows, *plain):
        model.pool.release(row.sequence.pages)


def test_steps_are_launched_behind_theirs(model: Adapted) -> None:
    rows, _ = model.read(model.runner)
    first = model.graphs.launch(rows)
    assert first is not None
    second = model.graphs.launch(rows, first)
    assert second is not None
    assert [step.tokens() for step in (first, second)] == [each.argmax(-1).tolist() for each in model.expected[1:]]
    for row in rows:
        model.pool.release(row.sequence.pages)


def test_a_recording_that_takes_another_adapter_is_found_out(model: Adapted, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded_error(model.loaded, model.runner, model.pool, model.graphs) < 1e-3
    monkeypatch.setattr(beside.AdaptersBeside, "numbers", {"wide": 1, "root": 0, "part": 0})  # not those recorded
    assert recorded_error(model.loaded, model.runner, model.pool, model.graphs) > 0.01


def test_where_steps_are_not_shared_they_are_computed_apart(model: Adapted, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a check of shared steps has failed."""

    def failing(*_: object) -> None:
        if model.adapters.joined:
            raise RuntimeError("a kernel failed")

    monkeypatch.setattr(model.adapters, "joined", True)
    checked: Any = SimpleNamespace(verify=failing)
    verify_adapters(model.loaded, checked, model.runner, model.pool, 1e-3)
    assert not model.adapters.joined
    rows, logits = model.read(model.runner)
    torch.testing.assert_close(logits, model.expected[0], rtol=1e-3, atol=1e-4)
    for row in rows:
        model.pool.release(row.sequence.pages)


def test_where_memory_lacks_for_equal_ranks_they_stay_apart(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(joining, "LowRank", full)
    layers: Any = nn.Sequential(nn.Linear(8, 4))
    adapters = beside.AdaptersBeside(layers)
    adapters.add(beside.NamedAdapter("one", ""), {"0": Pair(torch.zeros(2, 8), torch.zeros(4, 2))})
    join(adapters, layers)
    assert not adapters.joined
    assert caplog.messages == ["Rows with adapters run in a second forward of each step: out of memory"]
