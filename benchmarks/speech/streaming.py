"""`python -m benchmarks.speech.streaming`: live transcription, compared with transcribing the same recordings whole."""

import asyncio
import json
import os
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Setting
from benchmarks.process import LOAD_CORE, ROOT, Process
from benchmarks.running import Running
from benchmarks.speech.live_stream import Heard, Pace, Samples, hear
from models.recipes.speech.hearing_test import draw
from models.recipes.speech.items import Item, read_items
from models.recipes.speech.measures import word_error_rate
from sensorium import AsyncClient
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb

_TOGETHER = 4
"""Concurrent streams in measurements of words, where timing does not matter."""
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE_STREAMS, _IDLE_SECONDS, _IDLE_RATE = 100, 10, 16_000


@dataclass
class Measured:
    """Every figure by name: its value and its target."""

    figures: dict[str, tuple[float, str]] = field(default_factory=dict)

    def add(self, name: str, value: float, aim: str = "") -> None:
        """Adds a figure."""
        self.figures[name] = (value, aim)


def main(
    model: Annotated[Path, typer.Option(help="Folder of a transcriber with held-out recordings.")] = ROOT
    / "models/transcriber",
    drawn: Annotated[int, typer.Option(help="Draws so many recordings instead; needs espeak-ng and flite.")] = 0,
    chunkings: Annotated[int, typer.Option(min=1, help="Ways to cut one recording into messages.")] = 200,
    quick: Annotated[bool, typer.Option(help="Smoke run: a few recordings, ten chunkings.")] = False,
    cache: Annotated[Path, typer.Option(help="Folder for logs and results.")] = ROOT / ".bench",
) -> None:
    """Measures the service on one core, with its caller on another one."""
    items = draw(drawn) if drawn else read_items(model)
    console = Console()
    measured = asyncio.run(measure(model, items[:14] if quick else items, 10 if quick else chunkings, cache))
    table = Table("measured", "value", "aim")
    for name, (value, aim) in measured.figures.items():
        table.add_row(name, f"{value:.3g}", aim)
    console.print(table)
    values = {name: value for name, (value, _) in measured.figures.items()}
    result = {**asdict(Setting.now("benchmarks.speech.streaming")), "values": values}
    (cache / "speech-streaming.json").write_text(json.dumps(result, indent=1) + "\n")


async def measure(model: Path, items: Sequence[Item], chunkings: int, cache: Path) -> Measured:
    """Measures and returns all figures."""
    os.sched_setaffinity(0, {LOAD_CORE % (os.cpu_count() or 1)})
    measured = Measured()
    with Running(cache) as running:
        server = running.serve("services.speech", "--model", str(model), "--device", "cpu")
        async with AsyncClient(server.address, timeout=600) as client:
            await _all(client, server.process, items, chunkings, measured)
    return measured


async def _all(
    client: AsyncClient, process: Process, items: Sequence[Item], chunkings: int, measured: Measured
) -> None:
    spoken = [item for item in items if item.expected["text"]]
    whole = [await _offline(client, item) for item in spoken]
    rate = word_error_rate(_pairs(spoken, whole))
    measured.add("word error rate, whole", rate)
    await _words(client, process, spoken, rate, measured)
    silent = [item for item in items if not item.expected["text"]]
    heard = await _streamed(client, silent)
    measured.add("recordings without speech, of which words were heard", sum(bool(each.text) for each in heard), "0")
    await _latency(client, spoken, measured)
    await _idle(client, process, measured)
    await _chunkings(client, spoken, whole, chunkings, measured)


async def _words(
    client: AsyncClient, process: Process, spoken: Sequence[Item], whole_rate: float, measured: Measured
) -> None:
    before = process.processor_seconds()
    heard = await _streamed(client, spoken)
    seconds = sum(len(_samples(item)) / item.rate for item in spoken)
    rate = word_error_rate(_pairs(spoken, [each.text for each in heard]))
    measured.add("word error rate, streamed in real time", rate)
    measured.add("streamed ÷ whole", rate / whole_rate if whole_rate else float(rate > 0), "≤ 1.2")
    measured.add("real-time factor of the service, all in", (process.processor_seconds() - before) / seconds, "< 0.3")
    measured.add("interim results a second of audio", sum(each.interim_count for each in heard) / seconds)
    measured.add("results that took back what was stable", sum(each.taken_back for each in heard), "0")
    waits = [wait for each in heard for wait in each.final_waits]
    measured.add("from the end of a text to its final result, median, s", median(waits))


async def _latency(client: AsyncClient, spoken: Sequence[Item], measured: Measured) -> None:
    clean = [item for item in spoken if item.expected["set"] in ("espeak", "flite")]
    firsts = [(await hear(client, _samples(item), item.rate, Pace())).first for item in clean]
    found = sorted(first for first in firsts if first is not None)
    measured.add("from the beginning of speech to the first result, median, s", median(found), "≤ 0.5")
    measured.add("the same, 90th percentile, s", quantiles(found, n=10)[-1])
    measured.add("the same, greatest, s", found[-1])


async def _idle(client: AsyncClient, process: Process, measured: Measured) -> None:
    """Measures the CPU use of many silent streams, each sending a chunk of quiet noise every 100 ms."""
    draws = np.random.default_rng(0)
    noise = (draws.standard_normal(_IDLE_SECONDS * _IDLE_RATE) * 0.003).astype(np.float32)
    before = process.processor_seconds()
    await asyncio.gather(*(hear(client, noise, _IDLE_RATE, Pace()) for _ in range(_IDLE_STREAMS)))
    busy = (process.processor_seconds() - before) / _IDLE_SECONDS
    measured.add(f"core that {_IDLE_STREAMS} silent streams take", busy)


async def _chunkings(
    client: AsyncClient, spoken: Sequence[Item], whole: Sequence[str], count: int, measured: Measured
) -> None:
    """Transcribes one recording of several sentences, cut into chunks in many ways and sent at many speeds."""
    index = max(range(len(spoken)), key=lambda i: len(_samples(spoken[i])))
    item, said = spoken[index], spoken[index].expected["text"]
    draws = np.random.default_rng(0)
    paces = [
        Pace(tuple(draws.integers(1, draws.choice((200, 3200, 32_000)), 50).tolist()), float(draws.choice((0, 4, 12))))
        for _ in range(count)
    ]
    heard = await _in_company([hear(client, _samples(item), item.rate, pace) for pace in paces])
    offline = word_error_rate([(said, whole[index])])
    rates = [word_error_rate([(said, each.text)]) for each in heard]
    measured.add(
        f"{count} chunkings of one recording: stable prefixes that changed", sum(e.taken_back for e in heard), "0"
    )
    measured.add("the same: final texts worse than the whole", sum(rate > offline for rate in rates), "0")
    measured.add("the same: different final texts", len({each.text for each in heard}), "1")


async def _streamed(client: AsyncClient, items: Sequence[Item]) -> list[Heard]:
    return await _in_company([hear(client, _samples(item), item.rate, Pace()) for item in items])


async def _in_company(streams: Sequence[Awaitable[Heard]]) -> list[Heard]:
    places = asyncio.Semaphore(_TOGETHER)

    async def one(stream: Awaitable[Heard]) -> Heard:
        async with places:
            return await stream

    return await asyncio.gather(*map(one, streams))


async def _offline(client: AsyncClient, item: Item) -> str:
    mime = f"audio/l16;rate={item.rate};channels=1"
    data = np.rint(np.clip(_samples(item), -1, 1) * 32_767).astype("<i2").tobytes()
    response = await client.speech.transcribe(pb.TranscribeRequest(audio=common.Media(mime_type=mime, data=data)))
    return response.transcripts[0].text


def _samples(item: Item) -> Samples:
    assert item.samples is not None
    return item.samples


def _pairs(items: Sequence[Item], heard: Sequence[str]) -> list[tuple[str, str]]:
    return [(item.expected["text"], text) for item, text in zip(items, heard, strict=True)]


if __name__ == "__main__":
    typer.run(main)
