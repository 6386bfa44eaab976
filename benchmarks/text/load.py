"""Generates closed-loop load: each caller keeps one request running."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.text.caller import Caller
from benchmarks.text.sample import Prompt, RequestSample

MakePrompt = Callable[[int], Prompt]


@dataclass
class Load:
    """The samples of a load, and the period of constant load: `begin` to `end`."""

    begin: float
    end: float = 0.0
    samples: list[RequestSample] = field(default_factory=list)


@dataclass(frozen=True)
class Amount:
    """Length of a load: at least this many seconds and at least this many finished requests."""

    seconds: float
    requests: int


async def closed_loop(caller: Caller, prompt: MakePrompt, concurrency: int, amount: Amount) -> Load:
    """Runs `concurrency` callers, each of which sends its next request when the last one ended.

    The constant period ends with the request that completes the amount. Requests still running then are awaited;
    statistics ignore what comes after `Load.end`. A failed request ends the load.
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
    """Sends static batches of `concurrency` requests, one after the other."""
    load = Load(time.perf_counter())
    while not load.end:
        first = len(load.samples)
        load.samples += await caller.call([prompt(first + index) for index in range(concurrency)])
        if len(load.samples) >= amount.requests and time.perf_counter() - load.begin >= amount.seconds:
            load.end = time.perf_counter()
    return load
