"""Measures CPU time of the calling thread: the least of many short runs."""

import time
from collections.abc import Awaitable, Callable

Work = Callable[[], Awaitable[object]]

_REPEATS, _SECONDS = 7, 0.02


async def microseconds(work: Work) -> float:
    """Returns the CPU time of one run, in microseconds."""
    once = max(await _timed(work, 10) / 10, 1e-7)
    times = int(_SECONDS / once) + 1
    return min([await _timed(work, times) / times for _ in range(_REPEATS)]) * 1e6


def now(work: Callable[[], object]) -> Work:
    """Wraps a coroutine function that never waits into a plain function."""

    async def ran() -> object:
        return work()

    return ran


async def _timed(work: Work, times: int) -> float:
    begun = time.thread_time()
    for _ in range(times):
        await work()
    return time.thread_time() - begun
