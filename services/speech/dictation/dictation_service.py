"""Loads multimodal decoders that transcribe a recording in their prompt."""

from collections.abc import Callable

from services.engine.audio.reader import AudioReader
from services.engine.checkpoint import Checkpoint
from services.engine.dictation.dictation import Dictation
from services.engine.generation.building.build import build_engine
from services.engine.language.languages import tags_of
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.loading import load_multimodal_model
from services.generation.engine_facts import engine_settings
from services.generation.generator import TextGenerator
from services.generation.generator_parts import GeneratorParts
from services.speech.config import SpeechSettings
from services.speech.dictation.dictation_writer import DictationWriter
from services.speech.dictation.transcribe_dictation import DictationTranscriber
from services.speech.live.stream_transcribe import live_transcriber
from services.speech.live.voice_network import VoiceNetwork
from services.speech.transcription.held_seconds import HeldSeconds
from services.speech.transcription.recording_cuts import RecordingCuts
from services.speech.transcription.writing_service import WritingService
from services.speech.verb_set import SpeechVerbs

_AUDIO_SHARE = 2
"""Audio of a window takes at most half of the context; the rest is for the request's text and the transcript."""


def load_dictation_service(
    checkpoint: Checkpoint, settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> WritingService:
    """Loads a multimodal decoder with its engine and verbs. Raises ModelRefused."""
    with metrics.loading("load"):
        loaded = load_multimodal_model(checkpoint)
    warming()
    with metrics.loading("warm_up"):
        built = build_engine(loaded, engine_settings(settings), metrics)  # recordings rarely repeat: no cache of them
        parts = GeneratorParts.of(loaded, built, settings)
        media = loaded.media
        assert media is not None
        dictation = Dictation(loaded, media, parts.encoder)
        seconds = dictation.fitting(settings.window_seconds, built.context_tokens // _AUDIO_SHARE)
        transcriber = DictationTranscriber(
            dictation,
            DictationWriter(TextGenerator(parts), dictation, loaded.defaults, parts.threads.preprocessing),
            AudioReader(media.hearing, AudioLimits(settings.media_bytes, settings.audio_seconds)),
            parts.encoder,
            parts.threads.preprocessing,
            HeldSeconds(settings.max_queued_seconds),
            RecordingCuts(VoiceNetwork.load(), dictation.rate, seconds),
            built.context_tokens,
        )
        verbs = SpeechVerbs(
            transcriber=transcriber, stream_transcriber=live_transcriber(transcriber, settings, metrics)
        )
    languages = tags_of((*dictation.manner.languages, *dictation.manner.targets))
    return WritingService(loaded, built, parts.threads, verbs, settings, dictation.rate, languages)
