"""Rows that name adapters where layers are kernels and steps are recorded: both interpreted here."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from tests.services.engine.kernel_devices import INTERPRETED, shorten
from tests.tiny_adapted import adapted

pytest.importorskip("triton")
from services.engine.fusion.triton.decoder import GpuDecoderLayer
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.recorded.step_shape import Extent
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")


def decoding(pool: PagePool, runner: ModelRunner, names: Sequence[str]) -> list[Row[CachedTokens]]:
    """Returns a step of rows that decode, the token before each read."""
    sequences = [CachedTokens([7 + i, 9], adapter=name) for i, name in enumerate(names)]
    for sequence in sequences:
        pool.grow(sequence.pages, 2)
    runner.run([Row(sequence, 1) for sequence in sequences])
    for sequence in sequences:
        sequence.computed = 1
    return [Row(sequence, 1, decodes=True) for sequence in sequences]


def test_they_are_computed_by_the_models_own_modules_and_others_by_recordings(tmp_path: Path) -> None:
    loaded = adapted(tmp_path).load()
    shorten(loaded.model)
    cache, pool = KVCache(probe_layouts(loaded), 8, PAGE_SIZE, CPU, by_token=True), PagePool(8, PAGE_SIZE)
    made = partial(ModelRunner, loaded.model, cache=cache, device=CPU, adapters=loaded.adapters)
    plain, names = made(backend=ReferenceAttention()), ("root", "", "wide")
    expected = plain.run(decoding(pool, plain, names))
    backend, substitutions = TritonAttention(CPU), Substitutions(loaded.model)
    runner = made(backend=backend)
    run = partial(engine_logits, runner, pool, torch.tensor([[7, 9, 40]]))
    fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
    assert loaded.adapters is not None
    loaded.adapters.set_aside = substitutions.set_aside
    runner.recorded = graphs = PlayedGraphs(loaded.model, backend, cache, CPU, longest=64)
    graphs.record(1, Extent())
    rows = decoding(pool, runner, names)
    found = runner.run(rows)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert min(float((expected[i] - expected[1]).abs().max()) for i in (0, 2)) > 0.01
    assert graphs.shape_for(rows[:1]) is None
    shape = graphs.shape_for(rows[1:2])
    assert shape is not None
    assert torch.equal(found[1:2], graphs.run(rows[1:2], shape))
    assert isinstance(loaded.model.get_decoder().layers[0], GpuDecoderLayer)
