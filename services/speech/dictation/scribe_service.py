"""Loads encoder-decoders that read windows of any length and write no timestamps."""

from collections.abc import Callable

from services.engine.audio.reader import AudioReader
from services.engine.checkpoint import Checkpoint
from services.engine.language.languages import tags_of
from services.engine.listening.build import build_listening_engine
from services.engine.listening.scribe import load_scribe
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.generation.engine_facts import engine_settings
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts
from services.speech.config import SpeechSettings
from services.speech.dictation.scribe_writer import ScribeWriter
from services.speech.dictation.transcribe_dictation import DictationTranscriber
from services.speech.live.stream_transcribe import live_transcriber
from services.speech.live.voice_network import VoiceNetwork
from services.speech.transcription.held_seconds import HeldSeconds
from services.speech.transcription.recording_cuts import RecordingCuts
from services.speech.transcription.writing_service import WritingService
from services.speech.verb_set import SpeechVerbs


def load_scribe_service(
    checkpoint: Checkpoint, settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> WritingService:
    """Loads an encoder-decoder with its engine and verbs. Raises ModelRefused."""
    with metrics.loading("load"):
        scribe = load_scribe(checkpoint, settings.window_seconds)
    warming()
    with metrics.loading("warm_up"):
        built = build_listening_engine(scribe, engine_settings(settings), metrics)
        parts = GeneratorParts.of(scribe.loaded, built, settings)
        transcriber = DictationTranscriber(
            scribe,
            ScribeWriter(TextGenerator(parts), scribe, parts.threads.preprocessing),
            AudioReader(scribe.extractor, AudioLimits(settings.media_bytes, settings.audio_seconds)),
            parts.encoder,
            parts.threads.preprocessing,
            HeldSeconds(settings.max_queued_seconds),
            RecordingCuts(VoiceNetwork.load(), scribe.rate, scribe.seconds),
            built.context_tokens,
        )
        verbs = SpeechVerbs(
            transcriber=transcriber, stream_transcriber=live_transcriber(transcriber, settings, metrics)
        )
    languages = tags_of((*scribe.manner.languages, *scribe.manner.targets))
    return WritingService(scribe.loaded, built, parts.threads, verbs, settings, scribe.rate, languages)
