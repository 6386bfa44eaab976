"""`python -m benchmarks.speech.synthesis`: time to first audio, by the length of the text and by other load."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.process import ROOT
from benchmarks.speech.synthesis_shape import checkpoint
from local.fleet import Member
from local.stack import Ports, Stack
from sensorium import Client
from sensorium.v1.speech_pb2 import StreamSynthesizeRequest

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Heard:
    """Times of one synthesis, in seconds."""

    first: float
    """Time until the caller received the first audio."""
    total: float
    audio: float
    """Length of the audio."""


def main(
    model: Annotated[Path | None, typer.Option(help="Folder of a model. Default: random weights, like MMS.")] = None,
    words: Annotated[int, typer.Option(min=1, help="Words of a sentence.")] = 5,
    sentences: Annotated[int, typer.Option(min=2, help="Sentences of the long text.")] = 10,
    others: Annotated[int, typer.Option(min=0, help="Texts spoken at the same time, in the last two rows.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, after one that warms up.")] = 5,
    cache: Annotated[Path, typer.Option(help="Folder for models.")] = ROOT / ".bench",
) -> None:
    """Measures through gateway and client, with one thread for arithmetic; each round measures every row."""
    console = Console()
    folder = model or checkpoint(cache)
    sentence = " ".join(_NUMBERS[i % len(_NUMBERS)] for i in range(words)).capitalize() + ". "
    texts = {"one sentence": sentence, f"{sentences} sentences": sentence * sentences}
    member = Member(folder.resolve(), "services.speech")
    rounds: list[dict[str, Heard]] = []
    with Stack(Ports.free(1), [member]) as stack:
        for _ in stack.wait_ready():
            pass
        with Client(stack.target, timeout=600) as client:
            for number in range(repeats + 1):
                # The order alternates, since earlier work may still affect the machine.
                order = list(texts)[:: 1 if number % 2 else -1]
                row = {name: _hear(client, texts[name]) for name in order}
                if others:
                    with _speaking(client, sentence * 100, others):
                        row |= {f"{name}, {others} others": _hear(client, texts[name]) for name in order}
                rounds.append(row)
    _report(console, rounds[1:], list(texts))


def _hear(client: Client, text: str) -> Heard:
    began = time.perf_counter()
    first = audio = 0.0
    with client.speech.stream_synthesize(StreamSynthesizeRequest(text=text, seed=1)) as stream:
        for event in stream:
            if event.HasField("delta"):
                first = first or time.perf_counter() - began
            elif event.HasField("completed"):
                audio = event.completed.usage.audio_duration.ToTimedelta().total_seconds()
    return Heard(first, time.perf_counter() - began, audio)


@contextmanager
def _speaking(client: Client, text: str, count: int) -> Generator[None]:
    """Keeps `count` other syntheses running inside the block, and reads their audio as fast as it comes."""
    over, ready = threading.Event(), threading.Barrier(count + 1)

    def speak() -> None:
        with client.speech.stream_synthesize(StreamSynthesizeRequest(text=text[:4900])) as stream:
            for place, _ in enumerate(stream):
                if place == 1:
                    ready.wait()
                if over.is_set():
                    break

    threads = [threading.Thread(target=speak) for _ in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _report(console: Console, rounds: list[dict[str, Heard]], texts: list[str]) -> None:
    table = Table("text", "first audio, ms", "all, s", "audio, s", "real-time factor")
    for name in sorted(rounds[0], key=lambda name: (name.partition(",")[1], name)):
        first, total, audio = (
            median(getattr(row[name], figure) for row in rounds) for figure in ("first", "total", "audio")
        )
        table.add_row(name, f"{first * 1e3:.0f}", f"{total:.2f}", f"{audio:.2f}", f"{total / audio:.3f}")
    console.print(table)
    short, long = texts
    ratios = sorted(row[long].first / row[short].first for row in rounds)
    console.print(
        f"First audio of {long} ÷ that of {short}: {median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}); "
        "at most 1.3 is aimed at."
    )


if __name__ == "__main__":
    typer.run(main)
