"""A recording is compared with steps that are not recorded, and its memory is counted."""

import math
from typing import Any

import pytest
import torch

from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import Row
from services.engine.loading import LoadedModel
from tests.services.engine.kernel_devices import INTERPRETED, shorten

pytest.importorskip("triton")
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.recorded.recording import recorded_error
from services.engine.generation.recorded.step_graph import Recordings
from services.engine.generation.recorded.step_shape import Extent, Kind, StepShape
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
CPU = torch.device("cpu")


class Spoilt:
    """Computes the runner's results, but NaN for a step in which several rows decode."""

    def __init__(self, runner: ModelRunner) -> None:
        self._runner = runner

    def shape_for(self, rows: list[Row[Any]]) -> StepShape:
        count = sum(row.token_count for row in rows)
        return StepShape(Kind.DECODING, count, count, 1, count)

    def run(self, rows: list[Row[Any]], shape: StepShape) -> torch.Tensor:
        spoilt = len(rows) == shape.size > 1
        return self._runner.run(rows) * (torch.nan if spoilt else 1.0)


def test_a_recording_that_computes_no_numbers_does_not_pass_for_exact(llama: LoadedModel) -> None:
    cache, pool = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU), PagePool(40, PAGE_SIZE)
    runner = ModelRunner(llama.model, ReferenceAttention(), cache, CPU)
    recorded: Any = Spoilt(runner)
    assert math.isnan(recorded_error(llama, runner, pool, recorded))


def test_what_is_not_recorded_yet_is_told_with_its_logits(fresh_llama: LoadedModel) -> None:
    llama = fresh_llama
    shorten(llama.model)
    cache = KVCache(probe_layouts(llama), 40, PAGE_SIZE, CPU, by_token=True)
    graphs = PlayedGraphs(llama.model, TritonAttention(CPU), cache, CPU, longest=64)
    row_bytes = llama.model.get_output_embeddings().weight[:, 0].nbytes
    # Steps of one, two and three rows, and the choice behind each.
    assert graphs.record(3, Extent(), largest=True) == Recordings(6, 2, (1 + 2) * row_bytes)
    assert graphs.record(3, Extent()) == Recordings(6, 6, 0)
