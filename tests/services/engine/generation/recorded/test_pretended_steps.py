"""A simulated GPU takes its time for each step, in an otherwise real engine."""

import time

from benchmarks.gpu.pretended import PretendedGraphs
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.attention.reference import ReferenceAttention
from services.engine.generation.building.build import probe_layouts
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.recorded.step_shape import Extent
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import LoadedModel
from tests.services.bench import Bench, assemble

SECONDS, TOKENS = 0.004, 60


async def test_tokens_come_no_faster_than_its_steps(llama: LoadedModel, benches: list[Bench]) -> None:
    runner = ModelRunner(
        llama.model, ReferenceAttention(), KVCache(probe_layouts(llama), 64, PAGE_SIZE, llama.device), llama.device
    )
    graphs = PretendedGraphs(llama, runner, 200, SECONDS)
    graphs.record(8, Extent())
    runner.recorded = graphs
    benches.append(assemble(runner, 64))
    began = time.monotonic()
    found = await benches[0].run_all(*(([20 + i, 30, 40], {"max_new_tokens": TOKENS}) for i in range(3)))
    assert time.monotonic() - began >= (TOKENS - 1) * SECONDS
    assert [len(result.ids) for result in found] == [TOKENS] * 3
    # Its tokens are random: not the model's, and different in each of three rows.
    assert len({tuple(result.ids) for result in found}) == 3
    assert benches[0].metric("steps_total") < 2 * TOKENS
