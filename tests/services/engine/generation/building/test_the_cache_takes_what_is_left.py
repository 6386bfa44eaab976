"""Sizes by figures that are made up: what a GPU would say. `tests/gpu` reads real ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import HostMemory, MemoryReading
from services.engine.generation.building.build import paged_parts
from services.engine.generation.building.largest_step import largest_steps
from services.engine.generation.building.parts import PAGE_SIZE, EngineSettings, Parts
from services.engine.generation.cache.page_pool import PagePool
from services.engine.loading import LoadedModel
from tests.services.bench import Bench, assemble, real_bench

TOKEN_BYTES = 3 * 2 * (8 + 16) * 4  # values are filled up to 16
PAGE_BYTES = PAGE_SIZE * TOKEN_BYTES
CONTEXT = 256
WEIGHTS, STEPS = 1_000_000, 300_000


@dataclass
class MadeUpMemory:
    """A device on which others hold something, whose largest step takes STEPS; what is really allocated counts not."""

    total: int = 100_000_000
    others: int = 0
    lacking: bool = False
    measures: bool = True
    runs: list[int] = field(default_factory=list[int])

    def read(self) -> MemoryReading:
        return MemoryReading(self.total, self.total - self.others - WEIGHTS, WEIGHTS)

    def peak(self, run: Callable[[], object]) -> int:
        if self.lacking:
            raise torch.OutOfMemoryError("secret")
        run()
        self.runs.append(len(self.runs))
        return STEPS if len(self.runs) == 1 else STEPS // 2


def parts_of(loaded: LoadedModel, memory: MadeUpMemory, **settings: float | int | None) -> Parts:
    chosen = {"max_sequences": 4, "prefill_tokens": 64} | settings
    return paged_parts(loaded, EngineSettings(**chosen), memory)


@pytest.mark.parametrize(("others", "share"), [(0, 0.5), (4_000_000, 1.0), (2_000_000, 0.6)])
def test_what_others_weights_and_the_largest_step_leave_is_the_cache(
    fresh_llama: LoadedModel, others: int, share: float
) -> None:
    memory = MadeUpMemory(total=6_000_000, others=others)
    parts = parts_of(fresh_llama, memory, memory_share=share, max_sequences=32)
    left = int(share * (6_000_000 - others)) - WEIGHTS - STEPS
    assert parts.pool.page_count == left // PAGE_BYTES < 32 * CONTEXT // PAGE_SIZE
    assert len(memory.runs) == 2
    assert parts.memory is not None
    told = parts.memory.parts
    assert told["total"] == sum(size for name, size in told.items() if name != "total")
    assert (told["others"], told["weights"], told["steps"]) == (others, WEIGHTS, STEPS)
    assert told["cache"] == parts.pool.page_count * PAGE_BYTES
    assert f"{parts.pool.page_count * PAGE_SIZE:,} tokens" in parts.memory.table()


def test_no_more_is_taken_than_all_sequences_need(fresh_llama: LoadedModel) -> None:
    assert parts_of(fresh_llama, MadeUpMemory()).pool.page_count == 4 * CONTEXT // PAGE_SIZE


@pytest.mark.parametrize(
    ("memory", "settings", "said"),
    [
        (MadeUpMemory(total=4_000_000, others=500_000), {"memory_share": 0.35}, ["--prefill-tokens", "35%"]),
        (MadeUpMemory(lacking=True), {}, ["64 prompt tokens", "--prefill-tokens", "--quantization"]),
        (MadeUpMemory(total=4_000_000), {"cache_bytes": 2_705_000, "max_sequences": 99}, ["--cache-mib", "does not"]),
        (MadeUpMemory(total=WEIGHTS + 1000), {}, ["does not fit"]),
    ],
    ids=["nothing left", "a step does not fit", "asked for too much", "weights alone"],
)
def test_too_little_is_refused_with_what_to_lower(
    fresh_llama: LoadedModel, memory: MadeUpMemory, settings: dict[str, float], said: list[str]
) -> None:
    with pytest.raises(ModelRefused) as refused:
        parts_of(fresh_llama, memory, **settings)
    assert all(part in str(refused.value) for part in said), refused.value
    assert "secret" not in str(refused.value)


def test_a_size_that_was_asked_for_and_fits_is_taken(fresh_llama: LoadedModel) -> None:
    # The share is for sizes that nobody has chosen.
    parts = parts_of(fresh_llama, MadeUpMemory(), cache_bytes=9 * PAGE_BYTES + 7, memory_share=0.01)
    assert parts.pool.page_count == 9


async def test_the_cache_that_is_put_in_last_is_the_one_that_serves(fresh_llama: LoadedModel) -> None:
    async def tokens(bench: Bench) -> list[int]:
        try:
            return (await bench.run(list(range(7, 40)), max_new_tokens=60)).ids
        finally:
            bench.engine.close()

    expected = await tokens(real_bench(fresh_llama))
    parts = parts_of(fresh_llama, MadeUpMemory(), cache_bytes=9 * PAGE_BYTES)
    assert await tokens(assemble(parts.runner, parts.pool.page_count)) == expected


def test_the_largest_step_is_as_large_as_any() -> None:
    settings = EngineSettings(max_sequences=5, prefill_tokens=200)
    pool = PagePool(3, PAGE_SIZE)
    reading, scoring = largest_steps(settings, pool, 90)
    assert sum(row.token_count for row in reading) == 200 + 5
    assert 200 - 8 < sum(row.cost for row in scoring[5:]) <= 200
    for row in (*reading, *scoring):
        assert row.sequence.computed + row.token_count == 90 <= len(row.sequence.pages) * PAGE_SIZE
        assert row.completes
    assert pool.free_count == 3


def proc(root: Path, files: dict[str, str]) -> HostMemory:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return HostMemory(root)


MACHINE = {"proc/meminfo": "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 6000 kB\n"}
POD = {
    "proc/self/cgroup": "0::/../kubepods/pod7\n",
    "sys/fs/cgroup/memory.max": "3072000\n",
    "sys/fs/cgroup/memory.current": "1024000\n",
    "sys/fs/cgroup/memory.stat": "anon 1000\ninactive_file 24000\n",
}
UNIT = {
    "proc/self/cgroup": "0::/system.slice/a.service\n",
    "sys/fs/cgroup/system.slice/a.service/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/a.service/memory.current": "5\n",
    "sys/fs/cgroup/system.slice/a.service/memory.stat": "anon 5\n",
    "sys/fs/cgroup/system.slice/memory.max": "2048000\n",
    "sys/fs/cgroup/system.slice/memory.current": "48000\n",
    "sys/fs/cgroup/system.slice/memory.stat": "anon 5\n",
}


@pytest.mark.parametrize(
    ("files", "total", "free"),
    [({}, 8192000, 6144000), (POD, 3072000, 2072000), (UNIT, 2048000, 2000000)],
    ids=["a machine", "a container", "a service within a slice"],
)
def test_a_container_has_what_its_groups_leave(tmp_path: Path, files: dict[str, str], total: int, free: int) -> None:
    reading = proc(tmp_path, MACHINE | files).read()
    assert (reading.total, reading.free) == (total, free)


def test_on_a_cpu_a_quarter_of_what_is_free_is_taken(fresh_llama: LoadedModel, tmp_path: Path) -> None:
    memory = proc(tmp_path, MACHINE | {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 2000 kB\n"})
    with pytest.raises(ModelRefused, match="--cache-mib"):
        paged_parts(fresh_llama, EngineSettings(max_sequences=99, cache_bytes=3 << 20), memory)
    parts = paged_parts(fresh_llama, EngineSettings(max_sequences=32), memory)
    assert parts.pool.page_count == (2000 << 10) // 4 // PAGE_BYTES
