"""Loads audio models: picks the loader by task and model type, and wires the verbs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import (
    MODEL_FOR_CTC_MAPPING,
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForCTC,
    AutoModelForRNNT,
    AutoModelForTDT,
    PretrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_RNNT_MAPPING, MODEL_FOR_TDT_MAPPING

from sensorium.v1 import models_pb2 as pb
from services.answer_conversion import duration
from services.engine.audio.ctc import CtcModel
from services.engine.audio.frame_model import FrameModel
from services.engine.audio.loading import LoadedAudioModel, load_audio_model
from services.engine.audio.reader import AudioInputs, AudioReader
from services.engine.audio.transducer import TransducerModel
from services.engine.audio.vectors import POOLERS, AudioVectors
from services.engine.batching.pipeline import Pipeline
from services.engine.checkpoint import Checkpoint, read_config, refusals
from services.engine.dictation.manners import MANNERS
from services.engine.following.loading import FOLLOWERS
from services.engine.joint import RECORDINGS, JointModel
from services.engine.listening.openings import OPENINGS
from services.engine.media.recording import AudioLimits
from services.engine.metrics import EngineMetrics
from services.media.classifier import AnyLabelClassifier
from services.media.embedder import MediaEmbedder
from services.plain_service import PlainService
from services.process import LoadedService
from services.speech.classify_audio import compute_logits, own_labels
from services.speech.config import SpeechSettings
from services.speech.dictation.dictation_service import load_dictation_service
from services.speech.dictation.scribe_service import load_scribe_service
from services.speech.following.following_service import load_following_service
from services.speech.listening.listening_service import load_listening_service
from services.speech.live.stream_transcribe import live_transcriber
from services.speech.task import SpeechTask
from services.speech.transcription.transcribe_frames import FrameTranscriber
from services.speech.verb_set import SpeechVerbs, Transcriber
from services.speech.workbench import Workbench

_SENTENCE = "This is a sound of {}."
"""The prompt template for labels of a zero-shot request."""


@dataclass(frozen=True)
class Served:
    """The verbs of a task and the pipeline they run on."""

    pipeline: Pipeline
    verbs: SpeechVerbs
    tasks: Sequence[pb.Task.ValueType]
    longest: float
    """Longest recording, in seconds."""


def load_speech_service(
    checkpoint: Checkpoint,
    task: SpeechTask,
    settings: SpeechSettings,
    metrics: EngineMetrics,
    warming: Callable[[], None],
) -> LoadedService:
    """Loads a model for one task. Raises ModelRefused."""
    if task is SpeechTask.TRANSCRIBE and (load := _writing_loader(checkpoint)):
        return load(checkpoint, settings, metrics, warming)
    with metrics.loading("load"):
        loaded = _LOADERS[task](checkpoint)
    warming()
    with metrics.loading("warm_up"):
        reader = AudioReader(loaded.extractor, AudioLimits(settings.media_bytes, settings.audio_seconds))
        served = _MAKERS[task](Workbench(loaded, reader, settings, metrics))
    limits = pb.ModelLimits(media_bytes=settings.media_bytes, audio_duration=duration(served.longest))
    return PlainService(loaded, served.pipeline, served.verbs, served.tasks, limits, sample_rate=loaded.rate)


def _writing_loader(checkpoint: Checkpoint) -> Callable[..., LoadedService] | None:
    """Returns the loader of a model that generates tokens; None for a frame model (CTC, TDT, RNN-T)."""
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
    if _frames_of(config):
        return None
    if config.model_type in FOLLOWERS:
        return load_following_service
    if config.model_type in OPENINGS:
        return load_scribe_service
    return load_dictation_service if config.model_type in MANNERS else load_listening_service


def _frames_of(config: PretrainedConfig) -> Any:
    """Returns the Auto class and the FrameModel class of a frame model (CTC, TDT, RNN-T); None for others."""
    return next((found for known, *found in _FRAME_KINDS if type(config) in known), None)


def _load_frames(checkpoint: Checkpoint) -> LoadedAudioModel:
    with refusals(checkpoint.source):
        kind, _ = _frames_of(read_config(checkpoint))
    return load_audio_model(checkpoint, kind, has_text=True)


def _transcribing(bench: Workbench) -> Served:
    _, make = _frames_of(bench.loaded.config)
    model: FrameModel = make(bench.loaded)
    pipeline = bench.pipeline(model.compute, kind=model.runner)
    model.measure(bench.reader)
    seconds = min(bench.settings.window_seconds, bench.settings.max_batch_seconds)
    transcriber = FrameTranscriber(pipeline, bench.loaded, model, bench.reader, seconds)
    return _transcribing_served(bench, pipeline, transcriber)


def _transcribing_served(bench: Workbench, pipeline: Pipeline, transcriber: Transcriber) -> Served:
    """Returns Transcribe and StreamTranscribe for a transcriber."""
    live = live_transcriber(transcriber, bench.settings, bench.metrics)
    verbs = SpeechVerbs(transcriber=transcriber, stream_transcriber=live)
    return Served(pipeline, verbs, [pb.TASK_TRANSCRIBE, pb.TASK_STREAM_TRANSCRIBE], bench.settings.audio_seconds)


def _classifying(bench: Workbench) -> Served:
    pipeline = bench.pipeline(partial(compute_logits, bench.loaded))
    classifier = own_labels(pipeline, bench.loaded, bench.recordings)
    return Served(pipeline, SpeechVerbs(classifier=classifier), [pb.TASK_CLASSIFY_AUDIO], bench.longest)


def _comparing(bench: Workbench) -> Served:
    """Serves a model of audio and texts (CLAP) with both of its tasks, whichever was asked for."""
    joint = JointModel(bench.loaded, RECORDINGS)
    text = joint.read("a dog", field="")
    pipeline = bench.pipeline(joint.compute, [AudioInputs(text.tensors, text.kind, text.length)])
    joint.check(bench.heard.tensors, bench.loaded)
    verbs = SpeechVerbs(
        classifier=AnyLabelClassifier(pipeline, joint, bench.recordings, _SENTENCE),
        embedder=MediaEmbedder(pipeline, bench.recordings, len(bench.tried(joint.compute)["vector"]), joint),
    )
    return Served(pipeline, verbs, [pb.TASK_ZERO_SHOT_CLASSIFY_AUDIO, pb.TASK_EMBED_AUDIO], bench.longest)


def _embedding(bench: Workbench) -> Served:
    if bench.loaded.tokenizer is not None:
        return _comparing(bench)
    vectors = AudioVectors(bench.loaded)
    pipeline = bench.pipeline(vectors.compute)
    embedder = MediaEmbedder(pipeline, bench.recordings, len(bench.tried(vectors.compute)["vector"]))
    return Served(pipeline, SpeechVerbs(embedder=embedder), [pb.TASK_EMBED_AUDIO], bench.longest)


def _load_embedding(checkpoint: Checkpoint) -> LoadedAudioModel:
    with refusals(checkpoint.source):
        compares = read_config(checkpoint).model_type == "clap"
    return load_audio_model(checkpoint, AutoModel, optional=() if compares else POOLERS, has_text=compares)


_FRAME_KINDS: Any = (
    (MODEL_FOR_CTC_MAPPING, AutoModelForCTC, CtcModel),
    (MODEL_FOR_TDT_MAPPING, AutoModelForTDT, TransducerModel),
    (MODEL_FOR_RNNT_MAPPING, AutoModelForRNNT, TransducerModel),
)
"""Frame models: the transformers mapping of their configurations, their Auto class, their FrameModel class."""
_LOADERS: dict[SpeechTask, Callable[[Checkpoint], LoadedAudioModel]] = {
    SpeechTask.TRANSCRIBE: _load_frames,
    SpeechTask.CLASSIFY: partial(load_audio_model, kind=AutoModelForAudioClassification),
    SpeechTask.ZERO_SHOT_CLASSIFY: partial(load_audio_model, kind=AutoModel, has_text=True),
    SpeechTask.EMBED: _load_embedding,
}
_MAKERS: dict[SpeechTask, Callable[[Workbench], Served]] = {
    SpeechTask.TRANSCRIBE: _transcribing,
    SpeechTask.CLASSIFY: _classifying,
    SpeechTask.ZERO_SHOT_CLASSIFY: _comparing,
    SpeechTask.EMBED: _embedding,
}
