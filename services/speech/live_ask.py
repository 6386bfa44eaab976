"""What passes between the servicer and the verb that hears live audio, free of torch and of protobuf."""

from dataclasses import dataclass

from sensorium.errors import Violation
from services.speech.transcribe_ask import TranscribeAsk


@dataclass(frozen=True)
class EndpointingAsk:
    """When speech is to begin and end, in seconds; None where the caller leaves it open."""

    speech_threshold: float | None = None
    min_speech: float | None = None
    min_silence: float | None = None
    padding: float | None = None
    max_utterance: float | None = None


@dataclass(frozen=True)
class LiveAsk:
    """A wish to have a stream of audio transcribed, unchecked."""

    encoding: str
    """A name of the contract's AudioEncoding, without its prefix; empty for an unknown one."""
    rate: int
    channels: int | None
    violations: tuple[Violation, ...]
    reading: TranscribeAsk
    """How each utterance is to be read."""
    interim_results: bool = False
    speech_events: bool = False
    single_utterance: bool = False
    endpointing: EndpointingAsk = EndpointingAsk()
