"""A batcher over a model that is none, with its parts in reach."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.engine.admission import QueueLimits
from services.engine.batching import batcher
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher
from services.engine.batching.job import Computed, Item, Job
from services.engine.batching.queue import BatchLimits
from services.engine.metrics import EngineMetrics

QUEUE, LIMITS = QueueLimits(), BatchLimits()
LACKING = "DefaultCPUAllocator: can't allocate memory"


class FakeRunner:
    """Answers each item with its inputs in a list. Inputs that are an error fail, alone and in company."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.open = threading.Event()
        self.open.set()
        self.most = 1 << 30
        """Items that memory is enough for."""
        self.entered = threading.Event()

    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        inputs = [item.inputs for item in items]
        self.batches.append(inputs)
        self.entered.set()
        assert self.open.wait(60)
        if len(inputs) > self.most:
            raise RuntimeError(LACKING)
        for value in inputs:
            if isinstance(value, Exception):
                raise value
        return [[value] for value in inputs]


class Bench:
    def __init__(self, wait_seconds: float, queue: QueueLimits, limits: BatchLimits) -> None:
        self.runner = FakeRunner()
        self.registry = CollectorRegistry()
        self.batcher = Batcher(
            self.runner, limits, BatchAdmission(queue), EngineMetrics(self.registry), wait_seconds=wait_seconds
        )

    def run(self, items: Sequence[Item], seconds: float | None = None) -> "asyncio.Task[Computed]":
        """Sends a request, which has so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        return asyncio.ensure_future(self.batcher.run(items, deadline))

    async def hold(self) -> "asyncio.Task[Computed]":
        """Keeps the model busy with a request of its own until `runner.open` is set."""
        self.runner.open.clear()
        self.runner.entered.clear()
        task = self.run(items("held"))
        await asyncio.to_thread(self.runner.entered.wait, 60)
        return task

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"sensorium_engine_{name}", labels) or 0.0


@asynccontextmanager
async def bench(
    *, wait_seconds: float = 0.0, queue: QueueLimits = QUEUE, limits: BatchLimits = LIMITS
) -> AsyncIterator[Bench]:
    made = Bench(wait_seconds, queue, limits)
    made.batcher.start()
    try:
        yield made
    finally:
        made.runner.open.set()
        await asyncio.to_thread(made.batcher.close)


def items(*inputs: Any, length: int = 1, kind: Any = None) -> list[Item]:
    return [Item(value, length, kind) for value in inputs]


def job(*lengths: int, kind: Any = None, arrival: float = 0.0) -> Job:
    """Returns a request that waits for nobody, for tests of the queue alone."""
    future: Any = None
    return Job([Item(index, length, kind) for index, length in enumerate(lengths)], None, arrival, future)


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Sets the clock of batchers ahead."""
    monkeypatch.setattr(batcher, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + seconds))


async def settle() -> None:
    """Lets requests that were sent reach the batcher."""
    for _ in range(5):
        await asyncio.sleep(0)
