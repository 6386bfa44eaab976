"""`python -m benchmarks.encoders.queueing`: what an open loop shows of any server that batches what waits.

Requests come at random; a batch of n takes `fixed` plus n times `each`. Prints p50 and p99 by the largest batch there
may be; as the batcher of this repository takes half of what waits; where a batch could hand out each result as it is
done, which no model does that reads a batch side by side; and where the server waits for company before it begins,
which alone comes below 3, by making both worse.
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
    """Seconds after the first request came."""
    halves: bool = False
    """Whether it is half of what waits, as far as that wastes little."""


def main(
    fixed: Annotated[float, typer.Option(help="Seconds of a batch, however large.")] = 0.005,
    each: Annotated[float, typer.Option(help="Seconds of each item.")] = 0.027,
    per_second: Annotated[float, typer.Option(help="Requests.")] = 25.8,
    requests: Annotated[int, typer.Option(min=100)] = 200_000,
    spread: Annotated[float, typer.Option(min=0.0, help="Deviation of the logarithm of a batch's time.")] = 0.0,
) -> None:
    """Simulates with a fixed seed."""
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
    """Returns random times in order."""
    chance, at, times = random.Random(1), 0.0, list[float]()
    for _ in range(count):
        at += chance.expovariate(per_second)
        times.append(at)
    return times


def latencies(times: list[float], policy: Policy, fixed: float, each: float, spread: float = 0.0) -> list[float]:
    """Returns how long each request took where whatever waits goes together, in order of arrival."""
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
