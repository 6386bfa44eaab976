"""`python -m benchmarks.encoders.queueing`: simulates the latency of dynamic batching under an open loop.

Requests arrive at random; a batch of n takes `fixed` + n * `each` seconds. Prints p50, p99 and their ratio for four
policies: batches up to a maximum; half of the queue, like this repository's batcher; results that leave a batch one
by one, which no batched forward allows; and waiting for more requests before each batch, the only policy with a ratio
below 3, since it makes both percentiles worse.
"""

import random
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.text.statistics import percentile
from services.engine.batching.pace import BatchPace
from services.engine.batching.queue import BatchLimits


@dataclass(frozen=True)
class Policy:
    """How a server makes batches."""

    most: int = 64
    one_by_one: bool = False
    wait: float = 0.0
    """Seconds to wait for more requests after the first one arrived."""
    halves: bool = False
    """Whether a batch takes half of the queue, where that wastes little time."""


def main(
    fixed: Annotated[float, typer.Option(help="Seconds of a batch, however large.")] = 0.005,
    each: Annotated[float, typer.Option(help="Seconds of each item.")] = 0.027,
    per_second: Annotated[float, typer.Option(help="Requests.")] = 25.8,
    requests: Annotated[int, typer.Option(min=100)] = 200_000,
    spread: Annotated[float, typer.Option(min=0.0, help="Deviation of the logarithm of a batch's time.")] = 0.0,
) -> None:
    """Simulates all policies with fixed seeds and prints a table."""
    table = Table("batches", "p50, ms", "p99, ms", "p99 ÷ p50")
    times = arrivals(per_second, requests)
    policies = [(f"of at most {most}", Policy(most)) for most in (1, 2, 4, 8, 64)]
    policies.append(("of half of what waits", Policy(halves=True)))
    policies.append(("whose results leave one by one", Policy(one_by_one=True)))
    policies += [(f"that wait {1000 * wait:.0f} ms for company", Policy(wait=wait)) for wait in (0.02, 0.04, 0.06)]
    for name, policy in policies:
        waited = latencies(times, policy, fixed, each, spread)
        half, last = (1000 * percentile(waited, share) for share in (0.5, 0.99))
        table.add_row(name, f"{half:.0f}", f"{last:.0f}", f"{last / half:.2f}")
    Console().print(table)


def arrivals(per_second: float, count: int) -> list[float]:
    """Returns the sorted arrival times of a Poisson process, in seconds."""
    chance, at, times = random.Random(1), 0.0, list[float]()
    for _ in range(count):
        at += chance.expovariate(per_second)
        times.append(at)
    return times


def latencies(times: list[float], policy: Policy, fixed: float, each: float, spread: float = 0.0) -> list[float]:
    """Returns the latency of each request, in order of arrival, in seconds."""
    taken, first, now = list[float](), 0, 0.0
    chance, pace, most = random.Random(2), BatchPace(), BatchLimits(policy.most, policy.most)
    while first < len(times):
        now = max(now, times[first] + policy.wait)
        last = first
        while last < len(times) and last - first < policy.most and times[last] <= now:
            last += 1
        if policy.halves:
            waiting = last - first
            last = first + min(waiting, pace.limits(most, waiting, waiting).length)
        slower = chance.lognormvariate(0, spread)
        done = now + (fixed + each * (last - first)) * slower
        pace.observe(last - first, done - now)
        for number, at in enumerate(times[first:last], 1):
            taken.append((now + (fixed + each * number) * slower if policy.one_by_one else done) - at)
        first, now = last, done
    return taken


if __name__ == "__main__":
    typer.run(main)
