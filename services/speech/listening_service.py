"""A model that writes what it hears, in memory and answering."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sensorium.v1 import models_pb2 as pb
from services.answer_conversion import duration
from services.engine.audio.reader import AudioReader
from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.build import BuiltEngine
from services.engine.language.languages import tags_of
from services.engine.language.prompting import PromptEncoder
from services.engine.listening.build import build_listening_engine
from services.engine.listening.loading import ListeningModel, load_listening_model
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.engine.preprocessing import Preprocessing
from services.engine.structure.compiler import StructureCompiler
from services.generation.engine_facts import describe, engine_settings, generation_limits
from services.generation.generator import TextGenerator
from services.speech.config import SpeechSettings
from services.speech.held_seconds import HeldSeconds
from services.speech.stream_transcribe import live_transcriber
from services.speech.transcribe_writing import WritingTranscriber
from services.speech.verb_set import SpeechVerbs
from services.speech.window_writer import WindowWriter


@dataclass(frozen=True)
class ListeningService:
    """A LoadedService."""

    model: ListeningModel
    built: BuiltEngine
    preprocessing: Preprocessing
    structures: StructureCompiler
    verbs: SpeechVerbs
    settings: SpeechSettings

    def start(self) -> None:
        """See LoadedService."""
        self.built.engine.start()

    def trouble(self, seconds: float) -> str:
        """See LoadedService."""
        return self.built.engine.trouble(seconds)

    def describe(self, info: pb.ModelInfo) -> None:
        """See LoadedService."""
        describe(info, self.model.loaded, self.built, self.settings)
        info.tasks[:] = [pb.TASK_TRANSCRIBE, pb.TASK_STREAM_TRANSCRIBE]
        info.sample_rate_hertz = self.model.rate
        info.limits.media_bytes = self.settings.media_bytes
        info.limits.audio_duration.CopyFrom(duration(self.settings.audio_seconds))
        info.languages[:] = tags_of(self.model.tokens.languages)

    def close(self) -> None:
        """See LoadedService."""
        self.built.engine.close()
        self.preprocessing.close()
        self.structures.close()


def load_listening_service(
    checkpoint: Checkpoint, settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> ListeningService:
    """Loads an encoder that listens with a decoder that writes. Raises ModelRefused."""
    began = time.monotonic()
    model = load_listening_model(checkpoint)
    loaded = model.loaded
    metrics.model_load_seconds.labels("load").set(time.monotonic() - began)
    warming()
    began = time.monotonic()
    built = build_listening_engine(model, engine_settings(settings), metrics)
    admission = built.engine.admission
    preprocessing, structures = Preprocessing(admission), StructureCompiler(loaded.tokenizer, admission)
    encoder = PromptEncoder(loaded.tokenizer, built.context_tokens)
    limits = generation_limits(loaded, built, encoder, settings)
    generator = TextGenerator(built.engine, encoder, loaded.defaults, limits, preprocessing, structures)
    transcriber = WritingTranscriber(
        model,
        WindowWriter(generator, model),
        AudioReader(model.extractor, AudioLimits(settings.media_bytes, settings.audio_seconds)),
        encoder,
        preprocessing,
        HeldSeconds(settings.max_queued_seconds),
    )
    verbs = SpeechVerbs(transcriber=transcriber, stream_transcriber=live_transcriber(transcriber, settings, metrics))
    metrics.model_load_seconds.labels("warm_up").set(time.monotonic() - began)
    return ListeningService(model, built, preprocessing, structures, verbs, settings)
