"""`python -m benchmarks.encoders.queueing`: what an open loop shows of any server that batches what waits.

Requests come at random; a batch of n takes `fixed` plus n times `each`. Prints p50 and p99 by the largest batch there
may be.
"""

import random
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.text.statistics import percentile


def main(
    fixed: Annotated[float, typer.Option(help="Seconds of a batch, however large.")] = 0.005,
    each: Annotated[float, typer.Option(help="Seconds of each item.")] = 0.027,
    per_second: Annotated[float, typer.Option(help="Requests.")] = 25.8,
    requests: Annotated[int, typer.Option(min=100)] = 200_000,
) -> None:
    """Simulates with a fixed seed."""
    table = Table("largest batch", "p50, ms", "p99, ms", "p99 ÷ p50")
    for most in (1, 2, 4, 8, 64):
        waited = latencies(arrivals(per_second, requests), most, fixed, each)
        half, last = (1000 * percentile(waited, share) for share in (0.5, 0.99))
        table.add_row(str(most), f"{half:.0f}", f"{last:.0f}", f"{last / half:.2f}")
    Console().print(table)


def arrivals(per_second: float, count: int) -> list[float]:
    """Returns random times in order."""
    chance, at, times = random.Random(1), 0.0, list[float]()
    for _ in range(count):
        at += chance.expovariate(per_second)
        times.append(at)
    return times


def latencies(times: list[float], most: int, fixed: float, each: float) -> list[float]:
    """Returns how long each request took where whatever waits goes together, up to `most`, in order."""
    taken, first, now = list[float](), 0, 0.0
    while first < len(times):
        now = max(now, times[first])
        last = first
        while last < len(times) and last - first < most and times[last] <= now:
            last += 1
        now += fixed + each * (last - first)
        taken += [now - at for at in times[first:last]]
        first = last
    return taken


if __name__ == "__main__":
    typer.run(main)
