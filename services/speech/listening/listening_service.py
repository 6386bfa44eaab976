"""Loads Whisper-like models, which transcribe windows of fixed length with timestamps."""

from collections.abc import Callable

from services.engine.audio.reader import AudioReader
from services.engine.checkpoint import Checkpoint
from services.engine.language.languages import tags_of
from services.engine.listening.build import build_listening_engine
from services.engine.listening.loading import load_listening_model
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.generation.engine_facts import engine_settings
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts
from services.speech.config import SpeechSettings
from services.speech.listening.transcribe_writing import WritingTranscriber
from services.speech.listening.window_writer import WindowWriter
from services.speech.live.stream_transcribe import live_transcriber
from services.speech.transcription.held_seconds import HeldSeconds
from services.speech.transcription.writing_service import WritingService
from services.speech.verb_set import SpeechVerbs


def load_listening_service(
    checkpoint: Checkpoint, settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> WritingService:
    """Loads an encoder-decoder with its engine and verbs. Raises ModelRefused."""
    with metrics.loading("load"):
        model = load_listening_model(checkpoint)
    warming()
    with metrics.loading("warm_up"):
        built = build_listening_engine(model, engine_settings(settings), metrics)
        parts = GeneratorParts.of(model.loaded, built, settings)
        transcriber = WritingTranscriber(
            model,
            WindowWriter(TextGenerator(parts), model),
            AudioReader(model.extractor, AudioLimits(settings.media_bytes, settings.audio_seconds)),
            parts.encoder,
            parts.threads.preprocessing,
            HeldSeconds(settings.max_queued_seconds),
        )
        verbs = SpeechVerbs(
            transcriber=transcriber, stream_transcriber=live_transcriber(transcriber, settings, metrics)
        )
    return WritingService(
        model.loaded, built, parts.threads, verbs, settings, model.rate, tags_of(model.tokens.languages)
    )
