"""Synthetic speech whose words are loudness levels, with a detector and a recognizer that need no model."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from services.speech.live.endpointing import Endpointing
from services.speech.live.event import LiveEvent, Result
from services.speech.live.hearing import Hearing
from services.speech.live.intake import Encoding, Intake
from services.speech.live.reading import Reading, Word
from services.speech.live.stream import LiveOptions, LiveTranscription
from services.speech.live.utterance import Reach
from services.speech.live.voice_network import VoiceState

RATE = 16_000
WORD_SECONDS = 0.3
GAP_SECONDS = 0.06


def spoken(*words: int | float) -> np.ndarray[Any, Any]:
    """Returns 16-bit samples. An int is a word of that loudness in percent, a float is silence in seconds."""
    parts = []
    for word in words:
        if isinstance(word, float):
            parts.append(np.zeros(round(word * RATE), np.int16))
        else:
            parts += [
                np.full(round(WORD_SECONDS * RATE), round(word / 100 * 32_768), np.int16),
                np.zeros(round(GAP_SECONDS * RATE), np.int16),
            ]
    return np.concatenate(parts)


class LoudNetwork:
    """Takes every sound for speech."""

    def probability(self, frame: Any, state: VoiceState) -> float:
        return float(np.abs(frame).max() > 0.005)


class LoudnessRecognizer:
    """Reads words by their loudness, and cut words as `part…`. Each reading takes `seconds` and is recorded.

    Readings wait while `gate` is closed.
    """

    def __init__(self, seconds: float = 0.0, errors: Iterable[Exception] = (), *, times: bool = True) -> None:
        self.lengths: list[float] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._seconds = seconds
        self._errors = list(errors)
        self._times = times

    async def recognize(self, samples: Any) -> Reading:
        self.lengths.append(len(samples) / RATE)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self._seconds)
            await self.gate.wait()
        finally:
            self.running -= 1
        if self._errors:
            raise self._errors.pop(0)
        words = _words(samples) if self._times else [Word(word.text) for word in _words(samples)]
        return Reading(words, "en", 0.75, 10, 2, 0.001, self._seconds)


def _words(samples: Any) -> list[Word]:
    loudness = np.rint(np.abs(samples) * 100).astype(int)
    edges = np.flatnonzero(np.diff(loudness, prepend=0, append=0))
    words = []
    for begin, end in pairwise(edges):
        if loudness[begin]:
            whole = end - begin >= WORD_SECONDS * RATE * 0.9
            text = f"w{loudness[begin]}" if whole else f"part{loudness[begin]}"
            words.append(Word(text, " ", begin / RATE, end / RATE, 0.9))
    return words


def live(
    recognizer: Any,
    *,
    endpointing: Endpointing | None = None,
    network: Any = None,
    unfinished: float = 60,
    context: float = 0,
    rate: int = RATE,
    **options: bool,
) -> LiveTranscription:
    intake, reach = Intake(Encoding.LINEAR16, rate, 1, RATE), Reach(60 * RATE, int(context * RATE))
    hearing = Hearing(intake, network or LoudNetwork(), endpointing or Endpointing(), RATE, reach)
    return LiveTranscription(hearing, recognizer, RATE, LiveOptions(word_times=True, **options), unfinished)


async def pieces_of(data: bytes, sizes: Sequence[int] = (3200,), *, pace: float = 0.0) -> AsyncIterator[bytes]:
    """Yields `data` in pieces of the given sizes in turn; with `pace`, at that multiple of real time."""
    begin = i = 0
    while begin < len(data):
        size = sizes[i % len(sizes)]
        yield data[begin : begin + size]
        begin, i = begin + size, i + 1
        await asyncio.sleep(size / 2 / RATE / pace if pace else 0)


async def heard(stream: LiveTranscription, audio: Any, **pacing: Any) -> list[LiveEvent]:
    return [event async for event in stream.events(pieces_of(audio.tobytes(), **pacing))]


def finals(events: Iterable[LiveEvent]) -> list[Result]:
    return [event for event in events if isinstance(event, Result) and event.final]
