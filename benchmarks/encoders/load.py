"""Generates load: closed loop (each caller keeps one request running) or open loop (requests at random times)."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Call = Callable[[int], Awaitable[None]]
"""Sends request number i and returns once it is answered. Raises if it fails."""


@dataclass
class Answered:
    """The result of a load: seconds of each request, and answers per second."""

    per_second: float
    seconds: list[float] = field(default_factory=list)


async def closed(call: Call, callers: int, seconds: float, warm_up: float = 1.0) -> Answered:
    """Keeps `callers` requests running for this many seconds. The first answers, during ramp-up, do not count.

    Answers arrive in batches of about `callers`, so the rate is measured between batches: from the arrival of answer
    number `callers` to the last one.
    """
    begin = time.perf_counter() + warm_up
    end = begin + seconds
    answers: list[tuple[float, float]] = []
    number = iter(range(10**9))

    async def caller() -> None:
        while (sent := time.perf_counter()) < end:
            await call(next(number))
            answers.append((time.perf_counter(), time.perf_counter() - sent))

    await asyncio.gather(*(caller() for _ in range(callers)))
    counted = sorted(answer for answer in answers if answer[0] >= begin)
    if len(counted) <= callers:
        raise RuntimeError(f"{len(counted)} answers in {seconds} s are too few to tell a rate; measure for longer")
    return Answered(rate([at for at, _ in counted], callers), [taken for _, taken in counted])


def rate(times: list[float], callers: int) -> float:
    """Returns answers per second after the first `callers`. `times` is sorted and has more than `callers` entries."""
    return (len(times) - callers) / (times[-1] - times[callers - 1])


async def open_loop(call: Call, per_second: float, seconds: float, seed: int) -> Answered:
    """Sends requests at random times, `per_second` on average, for this many seconds, and waits for all answers."""
    chance = random.Random(seed)
    taken: list[float] = []

    async def one(number: int, at: float) -> None:
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        await call(number)
        taken.append(time.perf_counter() - at)

    at, begin = time.perf_counter() + 0.1, time.perf_counter()
    tasks = []
    while at < begin + seconds:
        tasks.append(asyncio.create_task(one(len(tasks), at)))
        at += chance.expovariate(per_second)
    await asyncio.gather(*tasks)
    return Answered(len(taken) / seconds, taken)
