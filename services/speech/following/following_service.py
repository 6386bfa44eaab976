"""Loads streaming recognizers, which write tokens while they read audio."""

import time
from collections.abc import Callable

from sensorium.v1 import models_pb2 as pb
from services.answer_conversion import duration
from services.engine.admission import Admission, QueueLimits
from services.engine.audio.reader import AudioReader
from services.engine.checkpoint import Checkpoint, read_config, refusals
from services.engine.device.memory import memory_of
from services.engine.following.engine import FollowingEngine
from services.engine.following.loading import load_following_model
from services.engine.following.row_cache import Room
from services.engine.generation.building.parts import cache_bytes
from services.engine.language.prompting import PromptEncoder
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.engine.threads.engine_threads import EngineThreads
from services.generation.engine_facts import engine_settings
from services.plain_service import PlainService
from services.speech.config import SpeechSettings
from services.speech.following.transcribe_following import (
    FollowedDictation,
    FollowingText,
    FollowingTranscriber,
    FollowingWriter,
    LiveFollower,
)
from services.speech.live.stream_transcribe import live_transcriber
from services.speech.live.voice_network import VoiceNetwork
from services.speech.transcription.held_seconds import HeldSeconds
from services.speech.transcription.recording_cuts import RecordingCuts
from services.speech.verb_set import SpeechVerbs


def load_following_service(
    checkpoint: Checkpoint, settings: SpeechSettings, metrics: EngineMetrics, warming: Callable[[], None]
) -> PlainService:
    """Loads a model with its engine and verbs. Raises ModelRefused."""
    began = time.monotonic()
    with refusals(checkpoint.source):
        kind = read_config(checkpoint).model_type
    memory = memory_of(checkpoint.device)
    room = Room(cache_bytes(engine_settings(settings), memory), settings.max_sequences, memory)
    model = load_following_model(checkpoint, kind, room, settings.window_seconds)
    metrics.model_load_seconds.labels("load").set(time.monotonic() - began)
    warming()
    admission = Admission(QueueLimits(settings.max_queued_requests))
    engine = FollowingEngine(model, admission, metrics, settings.max_streams)
    threads = EngineThreads(engine)
    tokens = round(settings.window_seconds * model.rate / model.frame)
    assert model.loaded.tokenizer is not None
    encoder = PromptEncoder(model.loaded.tokenizer, tokens)
    text = FollowingText(model, encoder)
    transcriber = FollowingTranscriber(
        FollowedDictation(model.rate),
        FollowingWriter(engine, text),
        AudioReader(model.loaded.extractor, AudioLimits(settings.media_bytes, settings.audio_seconds)),
        encoder,
        threads.preprocessing,
        HeldSeconds(settings.max_queued_seconds),
        RecordingCuts(VoiceNetwork.load(), model.rate, settings.window_seconds),
        tokens,
    )
    live = live_transcriber(transcriber, settings, metrics, lambda ask: LiveFollower(engine, text, ask.deadline))
    return PlainService(
        loaded=model.loaded,
        threads=threads,
        verbs=SpeechVerbs(transcriber=transcriber, stream_transcriber=live),
        tasks=[pb.TASK_TRANSCRIBE, pb.TASK_STREAM_TRANSCRIBE],
        limits=pb.ModelLimits(media_bytes=settings.media_bytes, audio_duration=duration(settings.audio_seconds)),
        concurrency=model.rows,
        sample_rate=model.rate,
    )
