"""Plain request and answer of Synthesize, free of torch and protobuf: what the servicer and the verb exchange."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.errors import Violation
from services.engine.media.audio_encoding import AudioEncoding


@dataclass(frozen=True)
class SynthesisAsk:
    """A request to synthesize a text. `violations` holds what its conversion found wrong; the rest is not checked."""

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
    """Format of the audio, which is mono, and the seed it was drawn with."""

    encoding: AudioEncoding
    sample_rate: int
    seed: int


@dataclass(frozen=True)
class AudioDelta:
    """The next piece of audio."""

    audio: bytes
    offset: float
    """Length of the audio before it, in seconds."""


@dataclass(frozen=True)
class SynthesisEnd:
    """How a synthesis ended, and its usage and timing in seconds.

    `time_to_first_output` and `total` count from arrival.
    """

    cut: bool
    """Whether the model reached its longest output in any of the sentences."""
    input_tokens: int
    audio_seconds: float
    queue: float
    preprocess: float
    time_to_first_output: float
    compute: float
    total: float


@dataclass(frozen=True)
class WholeAudio:
    """All audio of a text."""

    audio: bytes
    media_type: str
    facts: AudioFacts
    end: SynthesisEnd
