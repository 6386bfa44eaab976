"""What passes between the servicer and the verb Synthesize, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.errors import Violation
from services.engine.media.audio_encoding import AudioEncoding


@dataclass(frozen=True)
class SynthesisAsk:
    """A wish to hear a text, unchecked but for what its conversion found wrong."""

    text: str
    streamed: bool
    voice: str | None
    speaker_embedding: Sequence[float] | None
    language: str
    speaking_rate: float | None
    encoding: AudioEncoding
    sample_rate: int | None
    seed: int | None
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class AudioFacts:
    """What a caller must know to hear the audio. It has one channel."""

    encoding: AudioEncoding
    sample_rate: int
    seed: int


@dataclass(frozen=True)
class AudioDelta:
    """The audio that follows."""

    audio: bytes
    offset: float
    """Seconds before it."""


@dataclass(frozen=True)
class SynthesisEnd:
    """What a text took that was spoken to its end. Times are in seconds from acceptance, or durations."""

    input_tokens: int
    audio_seconds: float
    queue: float
    preprocess: float
    time_to_first_output: float
    compute: float
    total: float


@dataclass(frozen=True)
class WholeAudio:
    """A text that was spoken to its end."""

    audio: bytes
    media_type: str
    facts: AudioFacts
    end: SynthesisEnd
