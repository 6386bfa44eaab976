"""Load: callers that each keep one request running, or requests that come whether or not others were answered."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Call = Callable[[int], Awaitable[None]]
"""Sends request number i and returns when it was answered; raises if it was not."""


@dataclass
class Answered:
    """What came of a load: seconds each request took, and how many a second were answered."""

    per_second: float
    seconds: list[float] = field(default_factory=list)


async def closed(call: Call, callers: int, seconds: float, warm_up: float = 1.0) -> Answered:
    """Keeps `callers` requests running for so long. The first answers of each, while the load begins, do not count.

    Answers come in batches of about `callers`. So the rate is taken between two of them: from when that many had come
    to the last one.
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
    """Returns answers per second behind the first `callers`; `times` are in order and more than that."""
    return (len(times) - callers) / (times[-1] - times[callers - 1])


async def open_loop(call: Call, per_second: float, seconds: float, seed: int) -> Answered:
    """Sends requests at random times, `per_second` on average, for so long, and waits for all answers."""
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
