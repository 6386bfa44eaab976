"""`python -m benchmarks.media`: the cost of an image in a prompt, and its effect on concurrent streams."""

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.media.checkpoint import TOKENS, checkpoint
from benchmarks.media.engine import Engine, running
from benchmarks.process import ROOT
from benchmarks.text.statistics import percentile

_TEXT = 60
"""Text tokens in a prompt with an image."""


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, after one that warms up.")] = 9,
    streams: Annotated[int, typer.Option(min=1, help="Streams that an image comes beside.")] = 4,
    cache: Annotated[Path, typer.Option(help="Folder for models.")] = ROOT / ".bench",
) -> None:
    """Measures a LLaVA (CLIP with 86 M weights, Llama with 55 M) in process, on one thread, without a server."""
    console = Console()
    with running(checkpoint(cache)) as engine:
        console.print(asyncio.run(_cost(engine, repeats)))
        console.print(asyncio.run(_pauses(engine, repeats, streams)))


async def _cost(engine: Engine, repeats: int) -> Table:
    """Compares time to first token with an image and with as many text tokens, and the encoder's own time."""
    rounds: list[tuple[float, float, float]] = []
    for _ in range(repeats + 1):
        rounds.append((await _first(engine, shows=True), await _first(engine, shows=False), engine.encode()))
    image, text, encoder = (1000 * median(times) for times in zip(*rounds[1:], strict=True))
    shares = [one / (other + alone) for one, other, alone in rounds[1:]]
    table = Table("first token, image, ms", "as much text, ms", "encoder, ms", "image ÷ (text + encoder)")
    share = f"{median(shares):.3f} ({min(shares):.3f}–{max(shares):.3f})"
    table.add_row(f"{image:.0f}", f"{text:.0f}", f"{encoder:.0f}", share)
    return table


async def _first(engine: Engine, *, shows: bool) -> float:
    prompt = engine.prompt(TOKENS + _TEXT, shows=shows)
    began = time.perf_counter()
    return (await engine.run(prompt, 1))[0] - began


async def _pauses(engine: Engine, repeats: int, streams: int) -> Table:
    """Compares the pauses of streams while a prompt arrives, with an image and without."""
    table = Table(
        "what comes beside streams", "pauses before, p50, ms", "during, p50", "during, p99", "longest", "TTFT"
    )
    for shows in (False, True):
        before, during, firsts = list[float](), list[float](), list[float]()
        for _ in range(repeats):
            quiet, disturbed, first = await _disturb(engine, streams, shows=shows)
            before += quiet
            during += disturbed
            firsts.append(first)
        numbers = [median(before), median(during), percentile(during, 0.99), max(during), median(firsts)]
        table.add_row("an image" if shows else "as much text", *(f"{1000 * number:.1f}" for number in numbers))
    return table


async def _disturb(engine: Engine, streams: int, *, shows: bool) -> tuple[list[float], list[float], float]:
    """Returns the streams' pauses before a prompt arrives and until its first token, and its time to first token."""
    running = [asyncio.create_task(engine.run(engine.prompt(32), 400)) for _ in range(streams)]
    await asyncio.sleep(1)
    prompt = engine.prompt(TOKENS + _TEXT, shows=shows)
    sent = time.perf_counter()
    first = (await engine.run(prompt, 1))[0]
    gaps = [gap for times in await asyncio.gather(*running) for gap in _gaps(times)]
    quiet = [gap for at, gap in gaps if sent - 0.5 < at < sent]
    return quiet, [gap for at, gap in gaps if at >= sent and at - gap <= first], first - sent


def _gaps(times: Sequence[float]) -> list[tuple[float, float]]:
    return [(later, later - earlier) for earlier, later in pairwise(times)]


if __name__ == "__main__":
    typer.run(main)
