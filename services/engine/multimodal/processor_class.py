"""The class that prepares images and recordings for a model, without what cannot be had here."""

from typing import Any

from transformers import AutoProcessor, PretrainedConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from services.engine.checkpoint import Checkpoint
from services.engine.images.processor import show_image_processors

_VIDEO = "video_processor"


def read_processor(checkpoint: Checkpoint, config: PretrainedConfig) -> Any:
    """Returns the checkpoint's processor, but for its part for videos. Raises what reading a checkpoint raises."""
    show_image_processors()
    if type(config) not in PROCESSOR_MAPPING:
        return AutoProcessor.from_pretrained(checkpoint.source, **checkpoint.shared)
    kind: Any = PROCESSOR_MAPPING[type(config)]
    if _VIDEO not in kind.get_attributes():
        return kind.from_pretrained(checkpoint.source, **checkpoint.shared)
    return without_video(kind).from_pretrained(checkpoint.source, **checkpoint.shared, **{_VIDEO: None})


def without_video(kind: type[Any]) -> type[Any]:
    """Returns the processor class `kind` without its part for videos, every one of which needs torchvision."""
    if _VIDEO not in kind.get_attributes():
        return kind

    class Videoless(kind):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != _VIDEO]

    Videoless.__name__ = kind.__name__  # it is what is saved
    return Videoless
