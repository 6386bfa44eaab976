"""`python -m benchmarks.gpu.day`: runs all tests and benchmarks that need a GPU, unattended, within some minutes."""

import os
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.gpu.day.course import Course
from benchmarks.gpu.day.plan import MINUTES, plan
from benchmarks.gpu.day.summary import page
from benchmarks.options import one_of
from benchmarks.process import ROOT

_WORKERS = min(12, os.cpu_count() or 1)
_NAMES = [part.name for part in plan(_WORKERS)]


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="Total time.")] = MINUTES,
    out: Annotated[Path, typer.Option(help="Folder for results; read summary.md.")] = ROOT / ".bench/day",
    part: Annotated[list[str] | None, one_of(_NAMES, help="May be repeated. Default: all, in this order.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Test processes that share the GPU.")] = _WORKERS,
) -> None:
    """Runs the tests and benchmarks of a GPU, the most important first, each for at most its share of the time.

    A part that fails or hangs costs only its share. The folder has all results so far at any time, also if this is
    stopped.
    """
    if not torch.cuda.is_available():
        sys.exit("This needs a GPU, and torch sees none.")
    course = Course(out, minutes, page)
    course.run([each for each in plan(workers) if not part or each.name in part])
    print((out / "summary.md").read_text())
    raise typer.Exit(any(outcome.status != "done" for outcome in course.outcomes))


if __name__ == "__main__":
    typer.run(main)
