"""The prefill budget of a step depends on the CPU time of steps, not on other load of the machine."""

import random
import time
from collections.abc import Collection

import torch
from torch import Tensor

from services.engine.generation.sequence import CachedTokens, Row
from services.engine.threads.work_clock import work_clock
from tests.services.bench import prepare
from tests.services.fake_runner import FakeRunner


class CostingRunner(FakeRunner):
    """Its own clock advances by a fixed cost per token. Sleeps of up to `others` s per step simulate other load."""

    def __init__(self, others: float) -> None:
        super().__init__()
        self.worked = 0.0
        self.plan: list[list[int]] = []
        self._others = others

    def clock(self) -> float:
        return self.worked

    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        self.plan.append([row.token_count for row in rows])
        self.worked += 0.01 + 0.0005 * sum(self.plan[-1])
        time.sleep(random.uniform(0, self._others))
        return super().run(rows)


async def plan(others: float) -> list[list[int]]:
    runner = CostingRunner(others)
    bench = prepare(runner, 1024, max_sequences=8, prefill_tokens=512, queue=1000)
    bench.scheduler.budget.clock = runner.clock
    streams = [bench.submit([6 + place] * 600, max_new_tokens=40) for place in range(8)]
    bench.engine.start()
    for stream in streams:
        async for _ in stream:
            pass
    bench.engine.close()
    return runner.plan


async def test_steps_read_the_same_whoever_else_is_on_the_machine() -> None:
    alone = await plan(others=0.0)
    assert any(1 < max(counts) < 600 for counts in alone)
    assert await plan(others=0.01) == alone


def test_on_a_processor_waiting_is_no_work() -> None:
    clock = work_clock(torch.device("cpu"))
    began = clock()
    time.sleep(0.1)
    assert clock() - began < 0.05
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    assert clock() > began
