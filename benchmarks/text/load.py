"""The load: callers that each keep one request running."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.text.caller import Caller
from benchmarks.text.sample import Prompt, RequestSample

MakePrompt = Callable[[int], Prompt]


@dataclass
class Load:
    """What came of a load, and the time in which it was constant."""

    begin: float
    end: float = 0.0
    samples: list[RequestSample] = field(default_factory=list)


@dataclass(frozen=True)
class Amount:
    """How long a load goes on: for this time, and until this many requests are done, whichever is later."""

    seconds: float
    requests: int


async def closed_loop(caller: Caller, prompt: MakePrompt, concurrency: int, amount: Amount) -> Load:
    """Lets `concurrency` callers send, each the next request when its last one ended.

    The constant time ends with the request that makes the amount full; what still runs then is waited for, and the
    part of it that lies behind is not counted by who reads `Load.end`. A failed request ends the load.
    """
    load = Load(time.perf_counter())
    order = iter(range(1_000_000_000))

    async def repeat() -> None:
        while not load.end:
            samples = await caller.call([prompt(next(order))])
            load.samples += samples
            done = len(load.samples) >= amount.requests and time.perf_counter() - load.begin >= amount.seconds
            if not load.end and (done or samples[0].error):
                load.end = time.perf_counter()

    await asyncio.gather(*(repeat() for _ in range(concurrency)))
    return load


async def static_batches(caller: Caller, prompt: MakePrompt, concurrency: int, amount: Amount) -> Load:
    """Sends batches of `concurrency` requests one behind the other: all that static batching can be given."""
    load = Load(time.perf_counter())
    while not load.end:
        first = len(load.samples)
        load.samples += await caller.call([prompt(first + index) for index in range(concurrency)])
        if len(load.samples) >= amount.requests and time.perf_counter() - load.begin >= amount.seconds:
            load.end = time.perf_counter()
    return load
