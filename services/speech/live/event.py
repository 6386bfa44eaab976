"""Events of a live stream, free of torch and protobuf. Times are in seconds from the stream's start."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.speech.live.reading import Word


@dataclass(frozen=True)
class Started:
    """The configuration was accepted."""


@dataclass(frozen=True)
class SpeechTurn:
    """Speech began or ended."""

    utterance_index: int
    began: bool
    seconds: float


@dataclass(frozen=True)
class Result:
    """An interim or final transcript of one utterance."""

    utterance_index: int
    text: str
    final: bool
    stable_characters: int
    stability: float | None
    start: float
    end: float
    language: str
    confidence: float | None = None
    words: Sequence[Word] = ()
    """Words with times from the start of the stream. Only in a final result."""
    cut: bool | None = None
    """See Reading. Only in a final result."""


@dataclass(frozen=True)
class StreamTimes:
    """Timing of a stream, in seconds."""

    queue: float
    preprocess: float
    time_to_first_output: float
    compute: float
    total: float


@dataclass(frozen=True)
class Completed:
    """The stream ended without an error."""

    audio: float
    """Length of the audio read, in seconds."""
    input_tokens: int
    output_tokens: int
    times: StreamTimes


LiveEvent = Started | SpeechTurn | Result | Completed
