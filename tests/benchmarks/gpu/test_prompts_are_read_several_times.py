"""The time of short prompts is the median of several, each of which reads all of them; then tokens are decoded."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import runner
from benchmarks.gpu.runner import run_engine
from services.engine.generation.cache.page_pool import PagePool

PAGES = 20


class Clocked:
    """Takes a time of its own for each step that reads, and a second for each that decodes."""

    def __init__(self, times: list[float]) -> None:
        self.now, self.steps, self._times = 0.0, list[list[int]](), times

    def run(self, rows: list[Any]) -> torch.Tensor:
        self.steps.append([row.token_count for row in rows])
        self.now += 1.0 if max(self.steps[-1]) == 1 else self._times.pop(0)
        return torch.rand(sum(row.completes for row in rows), 9)


@pytest.mark.parametrize(
    ("chunk", "times", "steps", "seconds"),
    [(7, [2.0, 9.0, 3.0, 4.0, 5.0], [[4, 3]] * 5, 4.0), (5, [6.0, 5.0], [[4, 1], [2]], 11.0)],
)
def test_short_prompts_are_read_anew(
    chunk: int, times: list[float], steps: list[list[int]], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked, pool = Clocked(times), PagePool(PAGES, 4)
    monkeypatch.setattr(runner, "now", lambda: clocked.now)
    parts: Any = SimpleNamespace(runner=clocked, pool=pool)
    rates = run_engine(parts, [[1, 2, 3, 4], [5, 6, 7]], 3, chunk)
    assert (rates.prompt_seconds, rates.step_seconds) == (seconds, 1.0)
    assert clocked.steps == [*steps, *[[1, 1]] * 3]
    assert pool.free_count == PAGES
