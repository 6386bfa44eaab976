"""An item that takes long is left now and then: what is short need not wait for all of it."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from sensorium.errors import DeadlineExceeded, QueueFull
from services.engine.admission import QueueLimits
from services.engine.batching.job import Item, Unfinished
from services.engine.batching.queue import BatchLimits
from tests.services.engine.batching.bench import Bench, bench, pass_time, settle
from tests.waiting import until


def parts(name: str, count: int, items: int = 1) -> list[Item]:
    """Returns items that take so many batches."""
    return [Item((name, count)) for _ in range(items)]


def leave(made: Bench, gate: threading.Semaphore) -> list[list[str]]:
    """Lets the runner leave items, one batch for each that `gate` lets through. Returns whose are in each batch."""
    batches = list[list[str]]()

    def run(items: Sequence[Item]) -> Sequence[Any]:
        gate.acquire()
        batches.append([item.inputs[0] for item in items])
        return [
            Unfinished(Item((name, count - 1), kind="more")) if count > 1 else f"{name} is done"
            for name, count in (item.inputs for item in items)
        ]

    made.runner.run = run
    return batches


async def test_a_short_item_waits_for_a_part_of_a_long_one_and_long_ones_go_on_together() -> None:
    async with bench() as made:
        gate = threading.Semaphore(3)
        batches = leave(made, gate)
        long = made.run(parts("a", 20, items=3))
        await until(lambda: len(batches) == 3)
        short, other = made.run(parts("b", 1)), made.run(parts("c", 9))
        await settle()
        gate.release(1000)
        assert (await short).outputs == ["b is done"]
        assert (await other).outputs == ["c is done"]
        assert (await long).outputs == ["a is done"] * 3
        assert made.metric("requests_total", finish_reason="completed") == 3
    # What was being worked on, and one more part at most.
    assert any("b" in batch for batch in batches[3:6])
    assert ["a", "a", "a", "c"] in [sorted(batch) for batch in batches]
    assert len(batches) <= 20 + 2


@pytest.mark.parametrize("expires", [True, False])
async def test_one_that_is_begun_is_dropped_when_nobody_waits_for_it(
    expires: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as made:
        batches = leave(made, threading.Semaphore(1 << 30))
        long = made.run(parts("a", 1 << 30), seconds=1000)
        await until(lambda: len(batches) > 5)
        if expires:
            pass_time(monkeypatch, 2000)
            with pytest.raises(DeadlineExceeded):
                await long
        else:
            long.cancel()
        await until(lambda: made.metric("requests_running") == 0)
        assert await asyncio.wait_for(made.run(parts("b", 3)), 60)
        assert not made.batcher._begun._had


async def test_what_is_begun_counts_among_what_may_wait() -> None:
    async with bench(queue=QueueLimits(requests=2), limits=BatchLimits(items=1)) as made:
        gate = threading.Semaphore(0)
        batches = leave(made, gate)
        long = [made.run(parts(name, 20)) for name in "ab"]
        await settle()
        gate.release(3)
        await until(lambda: len(batches) == 3)
        assert {"a", "b"} == {name for batch in batches for name in batch}
        others = [made.run(parts(name, 1)) for name in "cdef"]
        await settle()
        gate.release(1000)
        ended = await asyncio.gather(*others, return_exceptions=True)
        assert sum(isinstance(each, QueueFull) for each in ended) >= 3  # one of the two is worked on, or neither is
        assert [(await each).outputs for each in long] == [["a is done"], ["b is done"]]
        assert (made.batcher.admission.requests, made.batcher.admission.tokens) == (0, 0)
