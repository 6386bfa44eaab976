"""What a request is told of its wait is about what it waits, also beside items that the model has begun and left."""

import asyncio
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.engine import admission
from services.engine.admission import QueueLimits
from services.engine.batching import batcher
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher
from services.engine.batching.job import Item, Job, Unfinished
from services.engine.batching.queue import BatchLimits
from services.engine.metrics import EngineMetrics

_LENGTHS = (500, 1000, 1500)
_SECONDS = 1e-4
"""Of the model, for each unit of length."""


class Queue:
    """A batcher that is driven by hand, by a clock that its batches move."""

    def __init__(self, patch: pytest.MonkeyPatch, together: int) -> None:
        self.now = 1000.0
        for module in (admission, batcher):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.admission = BatchAdmission(QueueLimits(1000, 10_000_000))
        limits = BatchLimits(items=together, length=together * max(_LENGTHS), padding=1.0)
        self.batcher = Batcher(self, limits, self.admission, EngineMetrics(CollectorRegistry()))
        self.asked: list[tuple[Job, float]] = []
        """Requests, and the waits that they were told."""
        self.begun: dict[tuple[int, int], float] = {}
        """When an item was begun, by request and place in it."""
        self.tasks: list[asyncio.Task[Any]] = []

    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        for item in items:
            request, place, _ = item.inputs
            self.begun.setdefault((request, place), self.now)
        self.now += sum(item.length for item in items) * _SECONDS
        return [
            Unfinished(Item((request, place, left - 1), item.length, "more")) if left > 1 else True
            for item in items
            for request, place, left in [item.inputs]
        ]

    async def ask(self, lengths: Sequence[int], passes: int) -> None:
        items = [Item((len(self.asked), place, passes), length) for place, length in enumerate(lengths)]
        foretold = self.admission.expected_wait(sum(lengths))
        self.tasks.append(asyncio.ensure_future(self.batcher.run(items, None)))
        await asyncio.sleep(0)
        self.asked.append((self.batcher._new[-1], foretold))

    async def step(self) -> None:
        self.batcher._receive()
        self.batcher._step()
        self.batcher._send()
        await asyncio.sleep(0)

    def waits(self) -> list[tuple[float, float]]:
        """Returns the wait for its last item that each request was told, and the one that came, where it was begun."""
        found: list[tuple[float, float]] = []
        for request, (job, foretold) in enumerate(self.asked):
            begun = [self.begun.get((request, place)) for place in range(len(job.items))]
            if None not in begun:
                found.append((foretold, max(at for at in begun if at is not None) - job.arrival))
        return found

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.mark.parametrize(("sizes", "waiting", "together"), [((1,), 6, 1), ((1,), 12, 4), ((3,), 6, 1)])
@pytest.mark.parametrize("passes", [1, 2, 8])
async def test_a_wait_is_foretold(
    monkeypatch: pytest.MonkeyPatch, passes: int, sizes: Sequence[int], waiting: int, together: int
) -> None:
    queue, draws = Queue(monkeypatch, together), random.Random(1)
    try:
        while len(queue.asked) < 100:
            while len(queue.batcher._queue.jobs) + len(queue.batcher._new) < waiting:
                await queue.ask(draws.choices(_LENGTHS, k=draws.choice(sizes)), passes)
            await queue.step()
        foretold, waited = np.mean(queue.waits()[20:], axis=0)
    finally:
        await queue.close()
    assert 0.6 < foretold / waited < 1.3, (foretold, waited)


async def test_one_that_leaves_is_waited_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(monkeypatch, together=1)
    await queue.ask([1000], 1)
    await queue.step()
    await queue.ask([1000, 1000], 5)
    assert queue.admission.expected_wait(1) == pytest.approx(1 * _SECONDS)
    assert queue.admission.expected_wait(9000) == pytest.approx(2000 * _SECONDS)
    await queue.close()
    queue.batcher._receive()
    assert queue.admission.expected_wait(9000) == queue.admission.expected_wait() == 0
