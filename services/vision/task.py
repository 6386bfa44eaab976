"""The tasks of vision models, and how a checkpoint's task is chosen."""

from enum import Enum

from transformers.models.auto import modeling_auto as auto

from services.engine.checkpoint import Checkpoint
from services.media.made_for import classes, made_for


class VisionTask(Enum):
    """A task of a vision model. The values are those of `--task`."""

    CLASSIFY = "classify"
    """With the model's own labels."""
    ZERO_SHOT_CLASSIFY = "zero-shot-classify"
    """With labels in the request. Such a model can also embed images and texts."""
    DETECT = "detect"
    ZERO_SHOT_DETECT = "zero-shot-detect"
    SEGMENT = "segment"
    ESTIMATE_DEPTH = "estimate-depth"
    TRANSFORM = "transform"
    EMBED = "embed"


_BY_CLASS = {
    VisionTask.CLASSIFY: classes(auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    VisionTask.ZERO_SHOT_CLASSIFY: classes(auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES),
    VisionTask.DETECT: classes(auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES),
    VisionTask.ZERO_SHOT_DETECT: classes(auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES),
    VisionTask.SEGMENT: classes(
        auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
    )
    | {"Sam2VideoModel"},  # SAM 2 is published as its video model, which contains the image model
    VisionTask.ESTIMATE_DEPTH: classes(auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES),
    VisionTask.TRANSFORM: classes(auto.MODEL_FOR_IMAGE_TO_IMAGE_MAPPING_NAMES),
    VisionTask.EMBED: classes(auto.MODEL_FOR_IMAGE_MAPPING_NAMES),
}


def choose_task(checkpoint: Checkpoint, wanted: str) -> VisionTask:
    """Returns the task to serve; `wanted` is the value of `--task`.

    Raises:
        ModelRefused: `wanted` is `auto`, and the checkpoint's configuration cannot be read or names no supported class.
    """
    return VisionTask(wanted) if wanted != "auto" else made_for(checkpoint, _BY_CLASS, "vision task")
