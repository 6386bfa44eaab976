"""`python -m benchmarks.autoscale`: simulates a day with the manifests' scaling policies and with fixed fleets."""

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
from gateway.config import GatewaySettings

COMPONENTS = Path(__file__).parents[2] / "k8s/components"
SHARE = 0.7
"""Target load as a share of a replica's concurrency, in the policies and for a fixed fleet sized for the peak."""
GATEWAY = GatewaySettings.model_construct()
"""The default settings."""


def main(
    pool: Annotated[str, typer.Option(help="Whose policy.")] = "text",
    seed: Annotated[int, typer.Option(help="Of the day, and of how long pods take to start.")] = 1,
    peak: Annotated[float, typer.Option(help="Requests per second at the highest hour, without bursts.")] = 3.0,
    night: Annotated[float, typer.Option(help="The least, as a share of that.")] = 0.1,
    hours: Annotated[float, typer.Option(help="How much of the day.")] = 24.0,
    alone: Annotated[float, typer.Option(help="Tokens per second of a stream that is alone on a replica.")] = 18.0,
    full: Annotated[float, typer.Option(help="The same on a full replica.")] = 14.0,
    node: Annotated[float, typer.Option(help="Seconds until a new pod has a node and its image.")] = 120.0,
    weights: Annotated[float, typer.Option(help="Seconds until it has loaded and tried the model.")] = 90.0,
    gateways: Annotated[int, typer.Option(help="Gateways, each of which gives replicas what they have room for.")] = 2,
    cold: Annotated[float, typer.Option(help="Seconds a request waits while the pool has no replica.")] = 900.0,
    plot: Annotated[Path | None, typer.Option(help="Where to write the picture, SVG.")] = None,
) -> None:
    """Prints replicas, queueing times and GPU-hours of each fleet."""
    trace = Trace(seed, peak, hours, night=night)
    found = {name.upper(): policies(COMPONENTS / name)[pool] for name in ("keda", "hpa")}
    pace = Pace(round(found["KEDA"].target / SHARE), alone, full)
    busiest, mean = needed(trace, pace)
    fleets: dict[str, Scaler] = {name: ByLoad(policy) for name, policy in found.items()}
    fleets |= {"fixed (peak)": Fixed(busiest), "fixed (mean)": Fixed(mean)}
    room = gateways * math.ceil(GATEWAY.over_commit * pace.concurrency)

    def day(scaler: Scaler) -> Outcome:
        fleet = Fleet(pace, Starting(node, weights), seed, room)
        return Simulation(fleet, scaler, Patience(GATEWAY.queue_seconds, cold)).run(trace.arrivals, trace.seconds)

    outcomes = {name: day(scaler) for name, scaler in fleets.items()}
    title = f"{pool}: {len(trace.arrivals)} requests in {hours:g} h, up to {peak:g} per second, and bursts"
    Console().print(table(title, outcomes))
    if plot is not None:
        shown = {name: outcome for name, outcome in outcomes.items() if name != "HPA" or outcome != outcomes["KEDA"]}
        plot.write_text(picture(title, trace, shown))


def needed(trace: Trace, pace: Pace) -> tuple[int, int]:
    """Returns how many replicas at the load SHARE the busiest five minutes need, and the mean of the day."""
    work = [0.0] * math.ceil(trace.seconds / BIN_SECONDS)
    for arrival in trace.arrivals:
        work[int(arrival.time / BIN_SECONDS)] += arrival.tokens
    running = SHARE * pace.concurrency
    tokens = BIN_SECONDS * running * pace.rate(round(running))
    return math.ceil(max(work) / tokens), math.ceil(sum(work) / len(work) / tokens)


if __name__ == "__main__":
    typer.run(main)
