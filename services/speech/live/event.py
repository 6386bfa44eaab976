"""What happens in a stream of transcription, free of torch and of protobuf. Times are in seconds from its start."""

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
    """What was understood of one utterance so far."""

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
    """With times from the start of the stream. Only in a final result."""


@dataclass(frozen=True)
class StreamTimes:
    """Where the time of a stream went, in seconds."""

    queue: float
    preprocess: float
    time_to_first_output: float
    compute: float
    total: float


@dataclass(frozen=True)
class Completed:
    """The stream is over, and nothing went wrong."""

    audio: float
    """Seconds heard."""
    input_tokens: int
    output_tokens: int
    times: StreamTimes


LiveEvent = Started | SpeechTurn | Result | Completed
