"""Loads a checkpoint's processor without its part for videos, which needs torchvision."""

import json
from collections.abc import Sequence
from typing import Any

from transformers import AutoProcessor, PretrainedConfig, ProcessorMixin, VoxtralProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name

from services.engine.audio.extractors import show_feature_extractors
from services.engine.checkpoint import Checkpoint, ModelRefused, find_file
from services.engine.images.processor import show_image_processors
from services.engine.multimodal.voxtral import TOKENIZERS, TextVoxtralProcessor

_VIDEO = "video_processor"
_NAMING = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
"""Files that may name the processor's class; the first that does so counts."""

_TYPED = {"cosmos3_edge"}
"""Model types that need token types, which their processors make only if asked to."""


def read_processor(checkpoint: Checkpoint, config: PretrainedConfig) -> Any:
    """Returns the checkpoint's processor without its part for videos. Raises ModelRefused, and what reading raises."""
    show_image_processors()
    show_feature_extractors()
    of_configurations: Any = PROCESSOR_MAPPING
    kind = _named_class(checkpoint) or of_configurations.get(type(config), None)
    if kind in (None, AutoProcessor):
        return AutoProcessor.from_pretrained(checkpoint.source, **checkpoint.shared)
    if kind is VoxtralProcessor:
        kind = TextVoxtralProcessor
        if not any(find_file(checkpoint, file) for file in TOKENIZERS):
            raise ModelRefused(
                f"{checkpoint.source} has no {' and no '.join(TOKENIZERS)}: its prompts need one of them."
            )
    made = without_video(kind).from_pretrained(checkpoint.source, **checkpoint.shared)
    if config.model_type in _TYPED:
        made.return_mm_token_type_ids = True
    return made


def _named_class(checkpoint: Checkpoint) -> Any:
    """Returns the class that the checkpoint names, as AutoProcessor finds it: Pixtral's is not that of its model type.

    It is AutoProcessor itself where the class is in the checkpoint's own code, which may be run.
    """
    for file in _NAMING:
        if (path := find_file(checkpoint, file)) is None:
            continue
        told = json.loads(path.read_text(encoding="utf-8"))
        if checkpoint.trust.remote_code and "AutoProcessor" in told.get("auto_map", {}):
            return AutoProcessor
        if name := told.get("processor_class"):
            return processor_class_from_name(name)
    return None


class _NoVideos:
    """Stands in for the part for videos, which processors ask for its settings even without any video."""

    model_input_names: Sequence[str] = ()

    def __getattr__(self, name: str) -> None:
        return None


def without_video(kind: type[Any]) -> type[Any]:
    """Returns the processor class `kind` without its part for videos, every one of which needs torchvision."""
    if _VIDEO not in kind.get_attributes():
        return kind

    class Untold(ProcessorMixin):
        """A base class of the processor, which passes all parts but that for videos on to ProcessorMixin."""

        def __init__(self, *parts: Any, **named: Any) -> None:
            named |= dict(zip(kind.get_attributes(), parts, strict=False))
            named.pop(_VIDEO, None)
            super().__init__(**named)

    class Videoless(kind, Untold):
        video_processor = _NoVideos()

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != _VIDEO]

        @classmethod
        def _get_arguments_from_pretrained(cls, *asked: Any, **named: Any) -> list[Any]:
            parts = super()._get_arguments_from_pretrained(*asked, **named)
            parts.insert(kind.get_attributes().index(_VIDEO), None)  # they are given in order
            return parts

    Videoless.__name__ = kind.__name__  # it is what is saved
    return Videoless
