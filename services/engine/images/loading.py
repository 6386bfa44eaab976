"""Loads a model of images by the Auto class of what is wanted of it, with its processor."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES

from services.engine.checkpoint import (
    Checkpoint,
    read_config,
    read_incomplete_model,
    read_tokenizer,
    refusals,
    revision_of,
)
from services.engine.context import decoder_context
from services.engine.images.processor import read_image_processor

_LABELLED = ("Classification", "Detection", "Segmentation", "ViltForQuestionAnswering")
_READ_LABELS = frozenset(MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES.values())


@dataclass(frozen=True)
class LoadedVisionModel:
    """A model with its processor, ready for the batcher."""

    model: PreTrainedModel
    processor: Any
    """Its image processor, on Pillow and numpy. One call keeps nothing for the next: threads may share it. None where
    it reads no images."""
    tokenizer: PreTrainedTokenizerBase | None
    """Where it was to read texts too."""
    device: torch.device
    revision: str
    quantization: str = ""
    """Method and kind; empty where the weights are as wide as they are computed in."""
    missing: tuple[str, ...] = ()
    """Names of weights that its files lack, and that are random."""

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    @property
    def labels(self) -> list[str]:
        """The model's own labels by index; none for a model without a head that knows any."""
        labelled = any(word in self.architecture for word in _LABELLED) and self.architecture not in _READ_LABELS
        named = self.config.id2label if labelled else {}
        return [named[i] for i in sorted(named)]

    @property
    def context_tokens(self) -> int:
        """Tokens of a text that it reads; 0 where it reads none."""
        if self.tokenizer is None:
            return 0
        context = decoder_context(self.config, self.tokenizer)
        return min(context, getattr(self.config, "max_text_len", context))  # of Grounding DINO

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        return type(self.model).__name__


def load_vision_model(
    checkpoint: Checkpoint,
    kind: Any,
    *,
    optional: tuple[str, ...] = (),
    reads_text: bool = False,
    reads_images: bool = True,
) -> LoadedVisionModel:
    """Loads a checkpoint by the Auto class `kind`. Parts whose names begin with one of `optional` may lack weights.

    Raises:
        ModelRefused: its files are missing or unsafe to load, or lack weights that `kind` needs.
    """
    with refusals(checkpoint.source):
        config: PretrainedConfig = read_config(checkpoint)
        processor = read_image_processor(checkpoint) if reads_images else None
        tokenizer = read_tokenizer(checkpoint) if reads_text else None
        model, missing = read_incomplete_model(checkpoint, config, kind, optional)
    return LoadedVisionModel(
        model=model.eval(),
        processor=processor,
        tokenizer=tokenizer,
        device=checkpoint.device,
        revision=revision_of(checkpoint),
        quantization=checkpoint.quantized_by(config),
        missing=tuple(missing),
    )
