"""What a vision checkpoint is served for."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals


class VisionTask(Enum):
    """A task of a vision model. Values are those of `--task`."""

    CLASSIFY = "classify"
    """By its own labels."""
    ZERO_SHOT_CLASSIFY = "zero-shot-classify"
    """By labels in the request; such a model embeds images and texts too."""
    DETECT = "detect"
    ZERO_SHOT_DETECT = "zero-shot-detect"
    SEGMENT = "segment"
    ESTIMATE_DEPTH = "estimate-depth"
    TRANSFORM = "transform"
    EMBED = "embed"


def _classes(*tables: Mapping[Any, Any]) -> frozenset[str]:
    """Returns the names of the classes in the library's tables, where some kinds of model have several."""
    values = (value for table in tables for value in table.values())
    return frozenset(name for value in values for name in ([value] if isinstance(value, str) else value))


_BY_CLASS = {
    VisionTask.CLASSIFY: _classes(auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    VisionTask.ZERO_SHOT_CLASSIFY: _classes(auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    VisionTask.DETECT: _classes(auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES),
    VisionTask.ZERO_SHOT_DETECT: _classes(auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES),
    VisionTask.SEGMENT: _classes(
        auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
    )
    | {"Sam2VideoModel"},  # as which SAM 2 is published; that for images is a part of it
    VisionTask.ESTIMATE_DEPTH: _classes(auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES),
    VisionTask.TRANSFORM: _classes(auto.MODEL_FOR_IMAGE_TO_IMAGE_MAPPING_NAMES),
    VisionTask.EMBED: _classes(auto.MODEL_FOR_IMAGE_MAPPING_NAMES),
}


def choose_task(checkpoint: Checkpoint, wanted: str) -> VisionTask:
    """Returns what the checkpoint is served for; `wanted` is a value of `--task`.

    Raises:
        ModelRefused: its configuration cannot be read, or tells of no task that is known here.
    """
    if wanted != "auto":
        return VisionTask(wanted)
    with refusals(checkpoint.source):
        config: PretrainedConfig = read_config(checkpoint)
    (name, *_) = getattr(config, "architectures", None) or [""]
    for task, names in _BY_CLASS.items():
        if name in names:
            return task
    raise ModelRefused(
        f"{checkpoint.source} was made as {name or 'nothing its configuration names'}, which is no vision task known "
        "here. --task chooses one, or another service serves it: text, vision, speech or multimodal."
    )
