"""Threads for what is done to a request before and after the model, with a bound on how much of it waits."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from sensorium.call_record import phase
from services.engine.admission import Admission

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
"""More would take time from the model's thread on small machines."""


class Preprocessing:
    """Runs tokenizing, templating and the like off the event loop. No more may be in it than the queue may hold."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="preprocessing")

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Returns what `function` returns.

        Raises:
            QueueFull: as many requests as may wait are here already.
        """
        with self._admission.preparing(), phase("preprocess"):
            return await asyncio.wrap_future(self._executor.submit(function, *arguments, **named))

    async def take_turns(self, work: Generator[None, None, T]) -> T:
        """Returns what `work` returns, which yields wherever others may have their turn. Raises what `run` raises."""
        with self._admission.preparing(), phase("preprocess"):
            while True:
                found = await asyncio.wrap_future(self._executor.submit(_step, work))
                if found is not None:
                    return found[0]

    async def finish(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Returns what `function` returns, which makes an answer of what the model computed. It is never refused."""
        return await asyncio.wrap_future(self._executor.submit(function, *arguments, **named))

    def close(self) -> None:
        """Drops what has not begun and lets the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _step(work: Generator[None, None, T]) -> tuple[T] | None:
    """Goes on to where work yields, or returns what it returned."""
    try:
        next(work)
    except StopIteration as end:
        return (end.value,)
    return None
