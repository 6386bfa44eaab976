"""`python -m benchmarks.text`: the text service compared with other servers."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.environment import TRANSFORMERS, VLLM, PeerMissing, environment, version
from benchmarks.machine import Setting
from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.text.checkpoint import SHAPES
from benchmarks.text.report import markdown, write_json
from benchmarks.text.result import Result
from benchmarks.text.schedule import Plan, measure
from benchmarks.text.system import SYSTEMS
from benchmarks.text.table import grids
from benchmarks.text.workload import MIXED, WORKLOADS

_LOADS = (*WORKLOADS, MIXED)


def main(
    shape: Annotated[list[str], one_of(SHAPES, help="Model. May be repeated.")] = ["wide"],  # noqa: B006
    system: Annotated[list[str] | None, one_of(SYSTEMS, help="May be repeated. Default: all.")] = None,
    workload: Annotated[list[str] | None, one_of(_LOADS, help="May be repeated. Default: all.")] = None,
    concurrency: Annotated[str, typer.Option(help="Requests at a time, separated by commas.")] = "1,4,16,32",
    repeats: Annotated[int, typer.Option(min=1, help="Rounds over all systems.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a measurement at least.")] = 8.0,
    quick: Annotated[bool, typer.Option(help="Smoke run: 4 requests at a time, once, a second each.")] = False,
    cache: Annotated[Path, typer.Option(help="Folder for models, peers' environments, logs.")] = ROOT / ".bench",
    out: Annotated[Path | None, typer.Option(help="Folder for report and JSON. Default: the cache folder.")] = None,
) -> None:
    """Measures the systems by turns, prints tables and writes RESULTS.md and results.json."""
    console = Console()
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    levels = tuple(int(level) for level in concurrency.split(","))
    plan = Plan(
        shapes=tuple(shape),
        systems=tuple(system or SYSTEMS),
        workloads=tuple(workload or _LOADS),
        concurrency=(4,) if quick else levels,
        repeats=1 if quick else repeats,
        seconds=1.0 if quick else seconds,
        cache=cache.resolve(),
    )
    result = Result(notes=plan.left_out())
    setting = Setting.now("benchmarks.text", _versions(plan, result, console))
    try:
        asyncio.run(measure(plan, result, console.print))
    except KeyboardInterrupt:
        result.note("stopped by hand before everything planned was measured")
    finally:
        _publish(result, setting, out or plan.cache, console)


def _versions(plan: Plan, result: Result, console: Console) -> dict[str, str]:
    """Returns the versions of the peers. Installs them now, so that nothing is installed during measurements."""
    found: dict[str, str] = {}
    for peer in (TRANSFORMERS, VLLM):
        if peer.name in plan.systems:
            console.print(f"environment of {peer.name}")
            try:
                found[peer.name] = version(peer, environment(peer, plan.cache))
            except PeerMissing as error:
                result.note(f"{peer.name} was not measured: {error}")
    return found


def _publish(result: Result, setting: Setting, folder: Path, console: Console) -> None:
    for grid in grids(result):
        console.print(grid.rich())
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text(markdown(result, setting))
    write_json(result, setting, folder / "results.json")
    console.print(f"written to {folder}/RESULTS.md and results.json", markup=False)


if __name__ == "__main__":
    typer.run(main)
