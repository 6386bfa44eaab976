"""The task that a checkpoint of an audio model is served for."""

from enum import Enum

from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import Checkpoint
from services.media.made_for import classes, made_for


class SpeechTask(Enum):
    """A task of an audio model. Values are those of `--task`."""

    TRANSCRIBE = "transcribe"
    SYNTHESIZE = "synthesize"
    CLASSIFY = "classify"
    """With the model's own labels."""
    ZERO_SHOT_CLASSIFY = "zero-shot-classify"
    """With labels from the request. Such a model (CLAP) embeds audio and texts too."""
    EMBED = "embed"


_LISTED_ELSEWHERE = frozenset(
    f"{name}ForConditionalGeneration" for name in ("AudioFlamingo3", "GlmAsr", "MossTranscribeDiarize")
)
"""Speech recognizers that transformers lists only among the multimodal chat models."""
_SPEAK = frozenset({"DiaForConditionalGeneration", "VibeVoiceForConditionalGeneration"})
"""Synthesizers that transformers lists among the speech recognizers."""
_BY_CLASS = {
    SpeechTask.TRANSCRIBE: _LISTED_ELSEWHERE
    | classes(
        auto.MODEL_FOR_CTC_MAPPING_NAMES,
        auto.MODEL_FOR_TDT_MAPPING_NAMES,
        auto.MODEL_FOR_RNNT_MAPPING_NAMES,
        auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    )
    - _SPEAK,
    SpeechTask.SYNTHESIZE: _SPEAK
    | classes(auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES, auto.MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING_NAMES),
    SpeechTask.CLASSIFY: classes(auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES),
    SpeechTask.ZERO_SHOT_CLASSIFY: frozenset({"ClapModel"}),
    SpeechTask.EMBED: classes(auto.MODEL_MAPPING_NAMES),
}


def choose_task(checkpoint: Checkpoint, wanted: str) -> SpeechTask:
    """Returns the task to serve a checkpoint for; `wanted` is a value of `--task`.

    Raises:
        ModelRefused: the configuration cannot be read, or belongs to no known audio task.
    """
    return SpeechTask(wanted) if wanted != "auto" else made_for(checkpoint, _BY_CLASS, "task of audio")
