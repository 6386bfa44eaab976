"""Streams one recording for live transcription in real time, and records what came back when."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, cycle

import numpy as np
from numpy.typing import NDArray

from sensorium import AsyncClient
from sensorium.v1 import speech_pb2 as pb

Samples = NDArray[np.float32]

_LOUD = 0.05
"""Share of the peak level above which a recording without noise counts as speech."""


@dataclass
class Heard:
    """The results of a stream."""

    texts: list[str] = field(default_factory=list)
    """The texts of final results."""
    first: float | None = None
    """Seconds from sending the beginning of speech to the first result."""
    final_waits: list[float] = field(default_factory=list)
    """Seconds from sending the end of each utterance to its final result."""
    interim_count: int = 0
    taken_back: int = 0
    """Number of results that change text which the result before called stable."""

    @property
    def text(self) -> str:
        """All final texts together."""
        return " ".join(text for text in self.texts if text)


@dataclass(frozen=True)
class Pace:
    """How audio is sent: chunk sizes in samples, repeated in a cycle; `speed` 1 is real time, 0 all at once."""

    sizes: tuple[int, ...] = (1600,)
    speed: float = 1.0


def onset(samples: Samples, rate: int) -> float:
    """Returns the time in seconds at which speech begins in a recording without noise."""
    return float(np.argmax(np.abs(samples) > _LOUD * np.abs(samples).max())) / rate


async def hear(client: AsyncClient, samples: Samples, rate: int, pace: Pace) -> Heard:
    """Streams a recording and returns its results, interim ones included."""
    heard, stable, begun = Heard(), dict[int, str](), time.monotonic()
    speed = pace.speed or float("inf")

    def waited(seconds: float) -> float:
        return time.monotonic() - begun - seconds / speed

    begins = onset(samples, rate)
    async for event in client.speech.stream_transcribe(_sent(samples, rate, pace, begun)):
        if not event.HasField("result"):
            continue
        result = event.result
        heard.first = waited(begins) if heard.first is None else heard.first
        heard.taken_back += not result.text.startswith(stable.get(result.utterance_index, ""))
        stable[result.utterance_index] = result.text[: result.stable_character_count]
        if result.final:
            heard.texts.append(result.text)
            heard.final_waits.append(waited(result.end.ToNanoseconds() / 1e9))
        else:
            heard.interim_count += 1
    return heard


async def _sent(samples: Samples, rate: int, pace: Pace, begun: float) -> AsyncIterator[pb.StreamTranscribeRequest]:
    encoding = pb.AUDIO_ENCODING_FLOAT32
    config = pb.StreamTranscribeConfig(sample_rate_hertz=rate, encoding=encoding, interim_results=True)
    yield pb.StreamTranscribeRequest(config=config)
    for begin, end in _places(len(samples), pace.sizes):
        if pace.speed:
            # Like a microphone, send a chunk once its last sample has been spoken.
            await asyncio.sleep(max(begun + end / rate / pace.speed - time.monotonic(), 0))
        yield pb.StreamTranscribeRequest(audio=samples[begin:end].astype("<f4").tobytes())


def _places(count: int, sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in accumulate(cycle(sizes)):
        yield begin, min(end, count)
        if end >= count:
            return
        begin = end
