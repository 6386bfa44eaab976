"""`python -m benchmarks.encoders`: embeddings and image classification beside other servers and libraries."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.encoders.schedule import Measured, Plan, measure
from benchmarks.machine import Setting
from benchmarks.options import one_of
from benchmarks.process import ROOT

RATIOS = (
    ("texts/s, sensorium", "texts/s, infinity", "≥ 1.4"),
    ("texts/s by [CLS], sensorium", "texts/s by [CLS], infinity", "≥ 1.4"),
    ("texts/s, sensorium", "texts/s, onnxruntime fp32", "≥ 1.8"),
    ("texts/s, sensorium", "texts/s, transformers", ""),
    ("texts/s, sensorium, one caller", "texts/s, infinity, one caller", ""),
    ("open loop p99, ms", "open loop p50, ms", "≤ 3"),
    ("images/s, sensorium", "images/s, transformers", "≥ 0.95"),
    ("stream beside images, tokens/s", "stream alone, tokens/s", "about 1"),
)
"""Pairs of figures to compare, and the ratio aimed at."""


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds over all systems.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of a measurement.")] = 8.0,
    only: Annotated[str | None, one_of(("texts", "images"), help="Default: both.")] = None,
    quick: Annotated[bool, typer.Option(help="Smoke run: once, two seconds each.")] = False,
    cache: Annotated[Path, typer.Option(help="Folder for models, peers' environments, logs.")] = ROOT / ".bench",
) -> None:
    """Measures the systems by turns, each on one core with one thread, and writes tables and every value."""
    console, measured = Console(), Measured()
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    plan = Plan(cache.resolve(), 1 if quick else repeats, 2.0 if quick else seconds, only != "images", only != "texts")
    try:
        asyncio.run(measure(plan, measured, console.print))
    except KeyboardInterrupt:
        console.print("stopped by hand before everything planned was measured")
    for table in tables(measured):
        console.print(table)
    result = {**asdict(Setting.now("benchmarks.encoders")), "values": measured.values}
    (cache / "encoders.json").write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"written to {cache}/encoders.json", markup=False)


def tables(measured: Measured) -> list[Table]:
    """Returns the tables of the measured values and of the ratios."""
    each, compared = (
        Table("measured", "median", "lowest", "highest"),
        Table("compared", "median", "lowest", "highest", "aim"),
    )
    for name, values in measured.values.items():
        each.add_row(name, *(f"{value:.1f}" for value in (median(values), min(values), max(values))))
    for own, other, aim in RATIOS:
        pairs = zip(measured.values.get(own, []), measured.values.get(other, []), strict=False)
        if ratios := [one / two for one, two in pairs]:
            numbers = (f"{value:.2f}" for value in (median(ratios), min(ratios), max(ratios)))
            compared.add_row(f"{own} ÷ {other}", *numbers, aim)
    return [each, compared]


if __name__ == "__main__":
    typer.run(main)
