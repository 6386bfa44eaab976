"""Wires a model that generates transcripts token by token into the process."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.v1 import models_pb2 as pb
from services.answer_conversion import duration
from services.engine.generation.building.build import BuiltEngine
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel
from services.generation.engine_facts import describe, generation_limits
from services.generation.generation_threads import GenerationThreads
from services.generation.generator import TextGenerator
from services.speech.config import SpeechSettings
from services.speech.verb_set import SpeechVerbs


@dataclass(frozen=True)
class WritingParts:
    """A generation engine and the parts that send requests to it."""

    loaded: LoadedModel
    built: BuiltEngine
    encoder: PromptEncoder
    threads: GenerationThreads
    generator: TextGenerator

    @classmethod
    def of(cls, loaded: LoadedModel, built: BuiltEngine, settings: SpeechSettings) -> "WritingParts":
        """Builds the threads, prompt encoder and generator of an engine."""
        threads = GenerationThreads(built.engine, loaded.tokenizer)
        encoder = PromptEncoder(loaded.tokenizer, built.context_tokens)
        limits = generation_limits(loaded, built, encoder, settings)
        generator = TextGenerator(threads, encoder, loaded.defaults, limits)
        return cls(loaded, built, encoder, threads, generator)


@dataclass(frozen=True)
class WritingService:
    """A LoadedService that transcribes by generating tokens."""

    parts: WritingParts
    verbs: SpeechVerbs
    settings: SpeechSettings
    rate: int
    """Sample rate in Hz of the model's input."""
    languages: Sequence[str]
    """BCP 47 tags of the languages that it transcribes or translates into."""

    @property
    def threads(self) -> GenerationThreads:
        """See LoadedService."""
        return self.parts.threads

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        describe(info, self.parts.loaded, self.parts.built, self.settings)
        info.tasks[:] = [pb.TASK_TRANSCRIBE, pb.TASK_STREAM_TRANSCRIBE]
        info.sample_rate_hertz = self.rate
        info.limits.media_bytes = self.settings.media_bytes
        info.limits.audio_duration.CopyFrom(duration(self.settings.audio_seconds))
        info.languages[:] = self.languages
