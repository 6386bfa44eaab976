"""Plain configuration of StreamTranscribe, free of torch and protobuf."""

from dataclasses import dataclass

from sensorium.errors import Violation
from services.speech.transcription.transcribe_ask import TranscribeAsk


@dataclass(frozen=True)
class EndpointingAsk:
    """Options of endpointing, durations in seconds; None takes the default."""

    speech_threshold: float | None = None
    min_speech: float | None = None
    min_silence: float | None = None
    padding: float | None = None
    max_utterance: float | None = None


@dataclass(frozen=True)
class LiveAsk:
    """A request to transcribe a stream of audio, not yet checked."""

    encoding: str
    """A name of the contract's AudioEncoding without its prefix; empty for an unknown value."""
    rate: int
    channels: int | None
    violations: tuple[Violation, ...]
    reading: TranscribeAsk
    """Options to transcribe each utterance with; its audio is empty."""
    interim_results: bool = False
    speech_events: bool = False
    single_utterance: bool = False
    endpointing: EndpointingAsk = EndpointingAsk()
