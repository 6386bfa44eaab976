"""Plain request and answer of Transcribe, free of torch and protobuf: what the servicer and the verb exchange."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import GenerationOptions
from services.sent_media import SentMedia


@dataclass(frozen=True)
class TranscribeAsk:
    """A request to transcribe a recording, not yet checked."""

    audio: SentMedia
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]
    language: str = ""
    target_language: str = ""
    prompt: str = ""
    hotwords: Sequence[str] = ()
    word_times: bool = False
    transcript_count: int | None = None
    parameters: GenerationOptions | None = None
    """None if the request sets none."""


@dataclass(frozen=True)
class Word:
    """A word with its start and end, in seconds from the recording's beginning."""

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """A part of a transcript; times in seconds from the recording's beginning."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    no_speech_probability: float | None = None
    words: Sequence[Word] = ()


@dataclass(frozen=True)
class Transcript:
    """One candidate transcript of a recording."""

    text: str
    confidence: float | None = None
    segments: Sequence[Segment] = ()
    cut: bool | None = None
    """Whether a limit of tokens ended a window, so that words may be missing; None for models that have none."""


@dataclass(frozen=True)
class Transcribed:
    """The answer of Transcribe."""

    transcripts: Sequence[Transcript]
    """Best first; at least one."""
    language: str = ""
    language_confidence: float | None = None
    output_tokens: int = field(default=0)
    """Generated tokens; 0 for models that generate none."""
