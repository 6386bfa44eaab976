import pytest
import torch
from prometheus_client import CollectorRegistry

from services.engine.device import gpu_memory
from services.engine.device.memory import CudaMemory
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.largest_step import change_all, largest_steps
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.running.runner import ModelRunner
from services.engine.metrics import EngineMetrics
from tests.gpu.conftest import GPU, Load

pytestmark = pytest.mark.alone


def test_what_the_allocator_holds_is_told_at_each_scrape() -> None:
    registry = CollectorRegistry()
    gpu_memory.watch(EngineMetrics(registry).gpu_memory_bytes, str(GPU))

    def told(kind: str) -> float:
        return registry.get_sample_value("sensorium_engine_gpu_memory_bytes", {"kind": kind}) or 0.0

    before = told("allocated")
    held = torch.empty(64 << 20, dtype=torch.uint8, device=GPU)
    assert told("allocated") == before + held.nbytes
    del held
    assert told("allocated") == before
    assert told("peak") >= before + (64 << 20)
    assert 64 << 20 <= told("reserved") < told("total")


def test_the_cache_of_a_model_is_what_the_largest_step_leaves(load: Load) -> None:
    before = CudaMemory(GPU).read()
    share = (before.held + (1 << 30)) / (before.held + before.free)
    parts = paged_parts(load("llama"), EngineSettings(max_sequences=512, memory_share=share))
    assert parts.memory is not None
    told = parts.memory.parts
    assert told["steps"] > 0
    assert told["graphs"] > 0
    assert told["cache"] <= (1 << 30) - told["steps"] - told["graphs"]
    assert sum(told.values()) == 2 * told["total"]
    assert isinstance(parts.runner, ModelRunner)
    assert parts.runner.recorded is not None
    # Later steps of the measured size take no more memory than was measured.
    rows = largest_steps(EngineSettings(max_sequences=512), parts.pool, 256)[0]
    assert CudaMemory(GPU).peak(lambda: parts.runner.run(rows)) <= told["steps"]
    assert CudaMemory(GPU).peak(lambda: change_all(torch.zeros(256, 320, device=GPU))) <= told["steps"]


def test_what_is_held_free_and_others_is_all_there_is() -> None:
    held = torch.empty(1 << 30, dtype=torch.uint8, device=GPU)
    reading = CudaMemory(GPU).read()
    assert reading.held >= held.nbytes
    assert reading.total == reading.free + reading.held + reading.others
