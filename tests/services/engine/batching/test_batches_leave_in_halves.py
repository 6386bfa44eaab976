import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from services.engine.batching import batcher
from services.engine.batching.job import Item
from services.engine.batching.pace import BatchPace
from services.engine.batching.queue import BatchLimits
from tests.services.engine.batching.bench import bench, items, settle

LIMITS = BatchLimits()


def paced(*lengths: int, fixed: float = 0.005, each: float = 0.001) -> BatchPace:
    pace = BatchPace()
    for length in lengths:
        pace.observe(length, fixed + each * length)
    return pace


def test_a_batch_is_half_of_what_waits_but_wastes_little() -> None:
    pace = paced(*range(32, 64))
    assert pace.limits(LIMITS, 2, 1000).length == 500
    assert pace.limits(LIMITS, 2, 90).length == pytest.approx(75, abs=1)  # 5 of 80 ms are what every batch takes
    assert pace.limits(LIMITS, 2, 10**6).length == LIMITS.length


def test_where_length_costs_little_a_batch_is_all_that_waits() -> None:
    assert paced(*range(32, 64), fixed=0.03, each=1e-5).limits(LIMITS, 2, 1000).length >= 1000
    assert paced(*range(32, 64), each=0.0).limits(LIMITS, 2, 1000) == LIMITS


def test_nothing_is_concluded_from_few_batches_or_from_batches_of_one_length() -> None:
    assert paced(*range(32, 42)).limits(LIMITS, 2, 1000) == LIMITS
    assert paced(*[64] * 100).limits(LIMITS, 2, 1000) == LIMITS


def test_what_was_long_ago_is_forgotten() -> None:
    pace = paced(*range(32, 64), fixed=1.0)
    for length in [*range(32, 64)] * 20:
        pace.observe(length, 0.005 + 0.001 * length)
    assert pace.limits(LIMITS, 2, 1000).length == 500


async def test_a_model_as_slow_as_its_batches_are_long_takes_half_of_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(batcher, "time", SimpleNamespace(monotonic=lambda: clock.now))
    async with bench() as made:
        own = made.runner.run

        def run(batch: Sequence[Item]) -> Sequence[Any]:
            clock.now += 0.005 + 0.01 * len(batch)
            return own(batch)

        monkeypatch.setattr(made.runner, "run", run)
        for size in [1, 2, 3, 4] * 6:
            await made.run(items(*range(size)))
        held = await made.hold()
        done = len(made.runner.batches)
        waiting = [made.run(items(i)) for i in range(40)]
        await settle()
        made.runner.open.set()
        await asyncio.gather(held, *waiting)
        assert [len(batch) for batch in made.runner.batches[done:]] == [20, 10, 8, 2]


def test_of_a_single_request_a_batch_takes_all() -> None:
    assert paced(*range(32, 64)).limits(LIMITS, 1, 1000) == LIMITS
