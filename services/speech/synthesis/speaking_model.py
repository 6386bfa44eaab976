"""Loads speech synthesizers with their engine and verb."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sensorium.v1 import models_pb2 as pb
from services.engine.admission import Admission, QueueLimits
from services.engine.checkpoint import Checkpoint
from services.engine.language.languages import tags_of
from services.engine.metrics import EngineMetrics
from services.engine.speech_synthesis.engine import SpeechEngine, SpeechLimits
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker, try_out
from services.engine.threads.engine_threads import EngineThreads
from services.plain_service import PlainService
from services.speech.config import SpeechSettings
from services.speech.synthesis.synthesize import Synthesizer
from services.speech.verb_set import SpeechVerbs


@dataclass(frozen=True)
class SpeakingService(PlainService):
    """A LoadedService that also describes its voices and languages."""

    voices: Sequence[str] = ()
    languages: Sequence[str] = field(default_factory=tuple)

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        super().describe(info)
        info.voices[:] = self.voices
        info.languages[:] = self.languages


def load_speaking_service(
    checkpoint: Checkpoint, settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> SpeakingService:
    """Loads a synthesizer. Raises ModelRefused."""
    with metrics.loading("load"):
        loaded = load_speaker(checkpoint, SpeakerParts(settings.vocoder, settings.voices))
    warming()
    with metrics.loading("warm_up"):
        try_out(loaded)
    speaker = loaded.speaker
    admission = Admission(QueueLimits(settings.max_queued_requests))
    unread = round(settings.max_unread_seconds * speaker.sample_rate)
    limits = SpeechLimits(settings.max_speaking, settings.max_queued_requests, unread)
    engine = SpeechEngine(admission, metrics, limits)
    threads = EngineThreads(engine)
    synthesizer = Synthesizer(loaded, engine, threads.preprocessing, settings.text_characters, settings.message_bytes)
    return SpeakingService(
        loaded=loaded,
        threads=threads,
        verbs=SpeechVerbs(synthesizer=synthesizer),
        tasks=[pb.TASK_SYNTHESIZE],
        limits=pb.ModelLimits(),
        concurrency=settings.max_speaking,
        sample_rate=speaker.sample_rate,
        voices=speaker.voices,
        languages=tags_of([speaker.language]),
    )
