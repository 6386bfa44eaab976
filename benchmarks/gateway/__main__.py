"""`python -m benchmarks.gateway`: how many requests the gateway must send a service to keep it busy (ADR 21)."""

import asyncio
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.gateway.occupancy import Occupancy, measure, stack
from benchmarks.process import ROOT
from benchmarks.running import Running

_OVER_COMMITS = [1.0, 1.25, 1.5, 2.0]


def main(
    rows: Annotated[list[int], typer.Option(help="Rows of the chat model's batch; may be repeated.")] = [4, 16],  # noqa: B006
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each measures every setting in turn.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a measurement.")] = 5.0,
    cache: Annotated[Path, typer.Option(help="Folder for logs.")] = ROOT / ".bench",
) -> None:
    """Measures batch occupancy: directly, and through gateways with different `--over-commit`."""
    table = Table("rows", "direct", *(f"by {factor:g}" for factor in _OVER_COMMITS))
    for count in rows:
        table.add_row(str(count), *asyncio.run(_cells(count, repeats, seconds, cache)))
    Console().print("Rows of a step in use (tokens a second), by --over-commit; means.", table)


async def _cells(rows: int, repeats: int, seconds: float, cache: Path) -> list[str]:
    with Running(cache) as running:
        service, gateways = stack(running, rows, _OVER_COMMITS)
        fronts = [service, *gateways]
        rounds = [[await measure(front, service, rows, seconds) for front in fronts] for _ in range(repeats)]
    return [_cell(measured) for measured in zip(*rounds, strict=True)]


def _cell(measured: tuple[Occupancy, ...]) -> str:
    return f"{mean(each.rows for each in measured):.2f} ({mean(each.tokens_per_second for each in measured):.0f})"


if __name__ == "__main__":
    typer.run(main)
