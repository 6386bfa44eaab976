"""`python -m benchmarks.speech`: transcription over gRPC, compared with transformers' pipeline in process."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import sensorium
from benchmarks.machine import Setting
from benchmarks.options import one_of
from benchmarks.process import ROOT
from benchmarks.running import Running
from benchmarks.speech.listening_shapes import frame_model, writing_model
from benchmarks.speech.recordings import recordings, total_seconds
from sensorium.v1.common_pb2 import GenerationParameters, Media
from sensorium.v1.speech_pb2 import TranscribeRequest

_AIM = 1.3


@dataclass(frozen=True)
class Shape:
    """One model, and the tokens it generates per recording; 0 for CTC models, which emit one per frame."""

    name: str
    folder: Callable[[Path], Path]
    tokens: int = 0


@dataclass(frozen=True)
class Took:
    """Seconds for all recordings: wall-clock and CPU time."""

    clock: float
    processor: float


SHAPES = (Shape("wav2vec2-base", frame_model), Shape("whisper-tiny", writing_model, 64))


def main(
    count: Annotated[int, typer.Option(min=2, help="Recordings of 2 to 15 s.")] = 24,
    callers: Annotated[int, typer.Option(min=1, help="Requests at once, and recordings of a batch.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds over all recordings.")] = 3,
    dtypes: Annotated[str, typer.Option(help="Element types, of both sides.")] = "float32,bfloat16",
    only: Annotated[str | None, one_of([shape.name for shape in SHAPES], help="Default: all.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder for models and logs.")] = ROOT / ".bench",
) -> None:
    """Measures both sides by turns, each on one core with one thread for arithmetic; callers run on the other core."""
    console = Console(width=140)
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    files = recordings(count)
    seconds = total_seconds(files)
    table = Table("model", "weights", "side", "s of audio a s of processor", "a s by the clock", "gRPC against it")
    for shape in (each for each in SHAPES if only in (None, each.name)):
        folder = shape.folder(cache)
        for dtype in dtypes.split(","):
            pipelined: dict[int, list[Took]] = {}
            for batch in (callers, 1):
                with Running(cache) as running:
                    pipelined[batch] = _pipelined(running, folder, shape, dtype, batch, count, rounds)
            with Running(cache) as running:
                served = asyncio.run(_served(running, folder, shape, dtype, callers, files, rounds))
            table.add_row(shape.name, dtype, f"gRPC, {callers} callers", *_rates(seconds, served), "")
            for batch, aim in ((callers, f", aim ≥ {_AIM}"), (1, "")):
                told = _times(pipelined[batch], served) + aim
                table.add_row("", "", f"pipeline, batches of {batch}", *_rates(seconds, pipelined[batch]), told)
    console.print(table)
    setting = Setting.now("benchmarks.speech")
    console.print(f"{count} recordings, {seconds:.0f} s; {setting.date}; {setting.machine}; {setting.versions}")
    console.print(setting.command, markup=False)


def _times(pipelined: list[Took], served: list[Took]) -> str:
    """Returns the pipeline's CPU time divided by ours, round by round."""
    ratios = sorted(one.processor / own.processor for one, own in zip(pipelined, served, strict=True))
    return f"{median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"


def _rates(seconds: float, rounds: list[Took]) -> tuple[str, str]:
    processor, clock = (median(seconds / getattr(each, name) for each in rounds) for name in ("processor", "clock"))
    return f"{processor:.2f}", f"{clock:.2f}"


def _pipelined(
    running: Running, folder: Path, shape: Shape, dtype: str, batch: int, count: int, rounds: int
) -> list[Took]:
    sizes = {"batch": batch, "count": count, "rounds": rounds, "tokens": shape.tokens}
    options = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    module = "benchmarks.speech.pipeline_batches"
    process = running.run(module, "--model", str(folder), "--dtype", dtype, *options, answers=True)
    return [Took(*map(float, line.split())) for line in process.output()[-rounds:]]


async def _served(
    running: Running, folder: Path, shape: Shape, dtype: str, callers: int, files: list[bytes], rounds: int
) -> list[Took]:
    server = running.serve("services.speech", "--model", str(folder), "--device", "cpu", "--dtype", dtype)
    processor_seconds = server.process.processor_seconds
    asks = [TranscribeRequest(audio=Media(data=file), language="en") for file in files]
    if shape.tokens:
        for ask in asks:
            ask.parameters.CopyFrom(GenerationParameters(temperature=0, max_new_tokens=shape.tokens))
    async with sensorium.AsyncClient(server.address, retry=None, timeout=600) as client:
        gate = asyncio.Semaphore(callers)

        async def one(ask: TranscribeRequest) -> None:
            async with gate:
                answer = await client.speech.transcribe(ask)
                assert answer.usage.output_token_count in (shape.tokens, 0)

        await asyncio.gather(*map(one, asks[:2]))
        took: list[Took] = []
        for _ in range(rounds):
            clock, processor = time.perf_counter(), processor_seconds()
            await asyncio.gather(*map(one, asks))
            took.append(Took(time.perf_counter() - clock, processor_seconds() - processor))
        return took


if __name__ == "__main__":
    typer.run(main)
