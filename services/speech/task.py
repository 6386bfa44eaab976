"""What a checkpoint of a model of audio is served for."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals


class SpeechTask(Enum):
    """A task of a model of audio. Values are those of `--task`."""

    TRANSCRIBE = "transcribe"
    SYNTHESIZE = "synthesize"
    CLASSIFY = "classify"
    """By its own labels."""
    ZERO_SHOT_CLASSIFY = "zero-shot-classify"
    """By labels in the request; such a model embeds audio and texts too."""
    EMBED = "embed"


def _classes(*tables: Mapping[Any, Any]) -> frozenset[str]:
    """Returns the names of the classes in the library's tables, where some kinds of model have several."""
    values = (value for table in tables for value in table.values())
    return frozenset(name for value in values for name in ([value] if isinstance(value, str) else value))


_LISTED_ELSEWHERE = frozenset(
    f"{name}ForConditionalGeneration" for name in ("AudioFlamingo3", "GlmAsr", "MossTranscribeDiarize")
)
"""By transformers with models of conversations alone."""
_BY_CLASS = {
    SpeechTask.TRANSCRIBE: _LISTED_ELSEWHERE
    | _classes(
        auto.MODEL_FOR_CTC_MAPPING_NAMES,
        auto.MODEL_FOR_TDT_MAPPING_NAMES,
        auto.MODEL_FOR_RNNT_MAPPING_NAMES,
        auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
    ),
    SpeechTask.SYNTHESIZE: _classes(
        auto.MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES, auto.MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING_NAMES
    ),
    SpeechTask.CLASSIFY: _classes(auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES),
    SpeechTask.ZERO_SHOT_CLASSIFY: frozenset({"ClapModel"}),
    SpeechTask.EMBED: _classes(auto.MODEL_MAPPING_NAMES),
}


def choose_task(checkpoint: Checkpoint, wanted: str) -> SpeechTask:
    """Returns what the checkpoint is served for; `wanted` is a value of `--task`.

    Raises:
        ModelRefused: its configuration cannot be read, or tells of no task that is known here.
    """
    if wanted != "auto":
        return SpeechTask(wanted)
    with refusals(checkpoint.source):
        config: PretrainedConfig = read_config(checkpoint)
    (name, *_) = getattr(config, "architectures", None) or [""]
    for task, names in _BY_CLASS.items():
        if name in names:
            return task
    raise ModelRefused(
        f"{checkpoint.source} was made as {name or 'nothing its configuration names'}, which is no task of audio known "
        "here. --task chooses one, or another service serves it: text, vision, speech or multimodal."
    )
