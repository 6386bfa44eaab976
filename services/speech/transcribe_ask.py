"""What passes between the servicer and the verbs that transcribe, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import GenerationOptions
from services.sent_media import SentMedia


@dataclass(frozen=True)
class TranscribeAsk:
    """A wish for the transcript of a recording, unchecked."""

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
    """None where the request has none."""


@dataclass(frozen=True)
class Word:
    """A word and when it was said, in seconds."""

    text: str
    start: float
    end: float
    confidence: float | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of a transcript."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    no_speech_probability: float | None = None
    words: Sequence[Word] = ()


@dataclass(frozen=True)
class Transcript:
    """One reading of a recording."""

    text: str
    confidence: float | None = None
    segments: Sequence[Segment] = ()


@dataclass(frozen=True)
class Transcribed:
    """What was understood of a recording."""

    transcripts: Sequence[Transcript]
    """Best first; at least one."""
    language: str = ""
    language_confidence: float | None = None
    output_tokens: int = field(default=0)
    """Tokens generated; 0 where nothing is."""
