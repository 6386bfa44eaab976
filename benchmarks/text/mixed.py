"""A long prompt that arrives while others stream: what it does to them."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.text.caller import Caller
from benchmarks.text.sample import RequestSample
from benchmarks.text.statistics import MeasuredWrong, percentile
from benchmarks.text.workload import MIXED_ARRIVAL, MIXED_STREAM


@dataclass(frozen=True)
class Disturbance:
    """Pauses between the tokens of the running streams, in milliseconds, and the arrival's own wait."""

    before_p99: float
    during_p99: float
    during_longest: float
    first_token: float


def disturbance(streams: list[RequestSample], arrival: RequestSample, quiet_from: float) -> Disturbance:
    """Returns what the streams felt from `quiet_from` to the arrival, and from there to its first token.

    Raises:
        MeasuredWrong: a request failed, or a stream had ended by itself before the arrival's first token.
    """
    if errors := [sample.error for sample in [*streams, arrival] if sample.error]:
        raise MeasuredWrong(errors[0])
    first = arrival.arrivals[0]
    if any(stream.arrivals[-1] < first for stream in streams):
        raise MeasuredWrong("a stream ended before the long prompt was answered")
    gaps = [gap for stream in streams for gap in stream.gaps()]
    before = [gap for at, gap in gaps if quiet_from <= at < arrival.sent]
    # A pause counts if any of it lies between arrival and answer.
    during = [gap for at, gap in gaps if at >= arrival.sent and at - gap <= first]
    return Disturbance(
        before_p99=1000 * percentile(before, 0.99),
        during_p99=1000 * percentile(during, 0.99),
        during_longest=1000 * max(during),
        first_token=1000 * arrival.first_token_seconds,
    )


async def mixed(caller: Caller, key: object, streams: int = 16, quiet_seconds: float = 3.0) -> Disturbance:
    """Lets `streams` streams run, sends the long prompt, and returns what they felt. Raises MeasuredWrong."""
    running = [asyncio.create_task(caller.call([MIXED_STREAM.prompt(key, index)])) for index in range(streams)]
    await asyncio.sleep(2.0)  # all prompts are in by then
    quiet_from = time.perf_counter()
    await asyncio.sleep(quiet_seconds)
    (arrival,) = await caller.call([MIXED_ARRIVAL.prompt(key)])
    samples = [sample for batch in await asyncio.gather(*running) for sample in batch]
    return disturbance(samples, arrival, quiet_from)
