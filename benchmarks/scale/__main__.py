"""`python -m benchmarks.scale`: estimates what breaks first with many gateways and replicas."""

import asyncio
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.scale.choice import Shape, waits
from benchmarks.scale.costs import Costs, costs
from benchmarks.scale.slices import roll_out_bytes, slice_bytes
from benchmarks.tables import table_of

_REFRESH_SECONDS, _SCRAPE_SECONDS = 10.0, 15.0
_SKEW = 0.3


def main(
    gateways: Annotated[int, typer.Option(min=1, help="Gateways.")] = 50,
    replicas: Annotated[int, typer.Option(min=10, help="Replicas.")] = 1000,
    seconds: Annotated[
        float, typer.Option(help="Of requests that are simulated, and of polls that are measured.")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 1,
) -> None:
    """Simulates load balancing, measures the costs of one gateway, and adds up those of all gateways."""
    console = Console()
    console.print(_choices(gateways, replicas, seconds, seed))
    sizes = sorted({min(10, replicas), min(100, replicas), replicas})
    measured = [asyncio.run(costs(count, min(seconds, 20.0))) for count in sizes]
    console.print(_table_of(measured))
    console.print(_sums(measured[-1], gateways, replicas))


def _choices(gateways: int, replicas: int, seconds: float, seed: int) -> Table:
    every, unequal = Shape(gateways, replicas), Shape(gateways, replicas, skew=_SKEW)
    shapes = {
        "one gateway": Shape(1, replicas),
        "4 gateways": Shape(4, replicas),
        "10 gateways": Shape(10, replicas),
        f"{gateways} gateways": every,
        f"{gateways}, choosing at random": replace(every, blind=True),
        f"{gateways}, each with {replicas // 10} it drew": replace(every, drawn=replicas // 10),
        f"{gateways} with parts, a replica in 5": replace(every, sharing=5),
        f"{gateways} with parts, a replica in 10": replace(every, sharing=10),
        f"{gateways} with parts, a replica in 20": replace(every, sharing=20),
        f"{gateways} unequal": unequal,
        f"{gateways} unequal with parts, in 5": replace(unequal, sharing=5),
        f"{gateways} unequal with parts, in 10": replace(unequal, sharing=10),
        f"{gateways} unequal with parts, in 20": replace(unequal, sharing=20),
        f"{gateways}, told": replace(every, told=True),
        f"{gateways} with parts, told": replace(every, sharing=10, told=True),
        f"{gateways} unequal with parts, told": replace(unequal, sharing=10, told=True),
    }
    table = table_of("who chooses", "waited", "p99", title=f"Waits in the queues of {replicas} replicas at 85 % load")
    for name, shape in shapes.items():
        found = waits(shape, seconds, seed)
        table.add_row(name, f"{100 * found.waited:.1f} %", f"{found.p99:.1f} s")
    return table


def _table_of(measured: list[Costs]) -> Table:
    table = table_of("endpoints", *(str(each.endpoints) for each in measured), title="One gateway, measured")
    rows = {
        "all found and ready, s": [f"{each.found_seconds:.1f}" for each in measured],
        "to choose one for a call, CPU µs": [f"{each.route_us:.0f}" for each in measured],
        "to take in one change, CPU µs": [f"{each.change_us:.0f}" for each in measured],
        "to poll one, CPU µs": [f"{each.poll_us:.0f}" for each in measured],
        "idle with all polls, % of a core": [f"{100 * each.idle_cpu:.1f}" for each in measured],
        "memory, KiB each": [f"{each.memory_kib:.0f}" for each in measured],
        "scrape, KiB": [f"{each.scrape_kib:.0f}" for each in measured],
        "scrape, ms": [f"{each.scrape_ms:.1f}" for each in measured],
        "replica: memory, KiB for each gateway": [f"{each.replica_memory_kib:.0f}" for each in measured],
        "replica: CPU µs for each poll": [f"{each.replica_poll_us:.0f}" for each in measured],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _sums(one: Costs, gateways: int, replicas: int) -> Table:
    polls = gateways / _REFRESH_SECONDS
    table = table_of("what", "comes to", title=f"{gateways} gateways and {replicas} replicas, added up from that")
    rows = {
        "connections, with a health watch each": f"{gateways * replicas:,}",
        "calls per second at which choosing takes a gateway's core": f"{1e6 / one.route_us:,.0f}",
        "polls a replica answers": f"{polls:.0f} per second, {polls * one.replica_poll_us / 1e4:.2f} % of a core",
        "a gateway's memory for endpoints": f"{one.memory_kib * replicas / 1024:.0f} MiB",
        "a replica's memory for gateways": f"{one.replica_memory_kib * gateways / 1024:.1f} MiB",
        "EndpointSlice events of a roll-out of all": f"{slice_bytes() / 1e3:.0f} kB each, "
        f"{roll_out_bytes(gateways, replicas) / 1e9:.1f} GB in all",
        "Prometheus, from all gateways": f"{gateways * one.scrape_kib / 1024 / _SCRAPE_SECONDS:.1f} MiB/s, "
        f"{2 * gateways * replicas:,} series by endpoint",
    }
    for name, cell in rows.items():
        table.add_row(name, cell)
    return table


if __name__ == "__main__":
    typer.run(main)
