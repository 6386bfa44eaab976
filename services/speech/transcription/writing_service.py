"""Wires a model that generates transcripts token by token into the process."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.v1 import models_pb2 as pb
from services.answer_conversion import duration
from services.engine.generation.building.build import BuiltEngine
from services.engine.loading import LoadedModel
from services.generation.engine_facts import describe
from services.generation.generation_threads import GenerationThreads
from services.speech.config import SpeechSettings
from services.speech.verb_set import SpeechVerbs


@dataclass(frozen=True)
class WritingService:
    """A LoadedService that transcribes by generating tokens."""

    model: LoadedModel
    built: BuiltEngine
    threads: GenerationThreads
    verbs: SpeechVerbs
    settings: SpeechSettings
    rate: int
    """Sample rate in Hz of the model's input."""
    languages: Sequence[str]
    """BCP 47 tags of the languages that it transcribes or translates into."""

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        describe(info, self.model, self.built, self.settings)
        info.tasks[:] = [pb.TASK_TRANSCRIBE, pb.TASK_STREAM_TRANSCRIBE]
        info.sample_rate_hertz = self.rate
        info.limits.media_bytes = self.settings.media_bytes
        info.limits.audio_duration.CopyFrom(duration(self.settings.audio_seconds))
        info.languages[:] = self.languages
