"""Measures how a long prompt that arrives affects running streams."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.text.caller import Caller
from benchmarks.text.sample import RequestSample
from benchmarks.text.statistics import MeasuredWrong, percentile
from benchmarks.text.workload import MIXED_ARRIVAL, MIXED_STREAM


@dataclass(frozen=True)
class Disturbance:
    """Pauses between tokens of the running streams, and the new request's time to first token, in milliseconds."""

    before_p99: float
    during_p99: float
    during_longest: float
    first_token: float


def disturbance(streams: list[RequestSample], arrival: RequestSample, quiet_from: float) -> Disturbance:
    """Compares the streams' pauses from `quiet_from` to the arrival with those until its first token.

    Raises:
        MeasuredWrong: A request failed, or a stream ended before the arrival's first token.
    """
    if errors := [sample.error for sample in [*streams, arrival] if sample.error]:
        raise MeasuredWrong(errors[0])
    first = arrival.arrivals[0]
    if any(stream.arrivals[-1] < first for stream in streams):
        raise MeasuredWrong("a stream ended before the long prompt was answered")
    gaps = [gap for stream in streams for gap in stream.gaps()]
    before = [gap for at, gap in gaps if quiet_from <= at < arrival.sent]
    # A pause counts if it overlaps the time between arrival and first token.
    during = [gap for at, gap in gaps if at >= arrival.sent and at - gap <= first]
    return Disturbance(
        before_p99=1000 * percentile(before, 0.99),
        during_p99=1000 * percentile(during, 0.99),
        during_longest=1000 * max(during),
        first_token=1000 * arrival.first_token_seconds,
    )


async def mixed(caller: Caller, key: object, streams: int = 16, quiet_seconds: float = 3.0) -> Disturbance:
    """Starts `streams` streams, sends the long prompt, and returns the disturbance. Raises MeasuredWrong."""
    running = [asyncio.create_task(caller.call([MIXED_STREAM.prompt(key, index)])) for index in range(streams)]
    await asyncio.sleep(2.0)  # all prompts have been prefilled by then
    quiet_from = time.perf_counter()
    await asyncio.sleep(quiet_seconds)
    (arrival,) = await caller.call([MIXED_ARRIVAL.prompt(key)])
    samples = [sample for batch in await asyncio.gather(*running) for sample in batch]
    return disturbance(samples, arrival, quiet_from)
