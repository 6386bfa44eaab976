"""`python -m benchmarks.autoscale` replays a day against the manifests' policies, beside fleets that do not scale."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.autoscale.fleet import Fleet, Starting
from benchmarks.autoscale.policy import policies
from benchmarks.autoscale.replica import Pace
from benchmarks.autoscale.report import BIN_SECONDS, picture, table
from benchmarks.autoscale.scaler import ByLoad, Fixed, Scaler
from benchmarks.autoscale.simulation import Outcome, Patience, Simulation
from benchmarks.autoscale.trace import Trace

COMPONENTS = Path(__file__).parents[2] / "k8s/components"
SHARE = 0.7
"""Of a replica's concurrency: what the policies' targets are set to, and what a fleet for the peak is sized by."""


def main(
    pool: Annotated[str, typer.Option(help="Whose policy.")] = "text",
    seed: Annotated[int, typer.Option(help="Of the day, and of how long pods take to start.")] = 1,
    peak: Annotated[float, typer.Option(help="Requests per second at the highest hour, without bursts.")] = 8.0,
    hours: Annotated[float, typer.Option(help="How much of the day.")] = 24.0,
    alone: Annotated[float, typer.Option(help="Tokens per second of a stream that is alone on a replica.")] = 90.0,
    full: Annotated[float, typer.Option(help="The same on a full replica.")] = 45.0,
    start: Annotated[float, typer.Option(help="Seconds until a new pod runs, its node included.")] = 20.0,
    weights: Annotated[float, typer.Option(help="Seconds until it has loaded and tried the model.")] = 55.0,
    queue: Annotated[float, typer.Option(help="Seconds a request waits in the gateway.")] = 30.0,
    cold: Annotated[float, typer.Option(help="Seconds it waits while the pool has no replica.")] = 300.0,
    plot: Annotated[Path | None, typer.Option(help="Where to write the picture, SVG.")] = None,
) -> None:
    """Prints replicas, waits and GPU-hours of each fleet."""
    trace, scalers = Trace(seed, peak, hours), {}
    for component in ("keda", "hpa"):
        policy = policies(COMPONENTS / component)[pool]
        scalers[component.upper()] = (policy, ByLoad(policy))
    concurrency = round(policy.target / SHARE)
    pace = Pace(concurrency, alone, full)
    busiest, mean = needed(trace, pace)
    fleets: dict[str, Scaler] = {name: scaler for name, (_, scaler) in scalers.items()}
    fleets |= {"fixed, for the peak": Fixed(busiest), "fixed, for the mean": Fixed(mean)}

    def day(scaler: Scaler) -> Outcome:
        fleet = Fleet(pace, Starting(start, weights), seed)
        return Simulation(fleet, scaler, Patience(queue, cold)).run(trace.arrivals, trace.seconds)

    outcomes = {name: day(scaler) for name, scaler in fleets.items()}
    title = f"{pool}: {len(trace.arrivals)} requests in {hours:g} h, up to {peak:g} per second and bursts"
    Console().print(table(title, outcomes))
    if plot is not None:
        plot.write_text(picture(title, trace, outcomes))


def needed(trace: Trace, pace: Pace) -> tuple[int, int]:
    """Returns how many replicas, filled to a share, the busiest five minutes need, and the whole day in the mean."""
    work = [0.0] * math.ceil(trace.seconds / BIN_SECONDS)
    for arrival in trace.arrivals:
        work[int(arrival.time / BIN_SECONDS)] += arrival.tokens
    running = SHARE * pace.concurrency
    tokens = BIN_SECONDS * running * pace.rate(round(running))
    return math.ceil(max(work) / tokens), math.ceil(sum(work) / len(work) / tokens)


if __name__ == "__main__":
    typer.run(main)
