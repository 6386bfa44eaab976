import torch
from prometheus_client import CollectorRegistry

from services.engine import gpu_memory
from services.engine.metrics import EngineMetrics
from tests.gpu.conftest import GPU


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
