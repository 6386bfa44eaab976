"""Loads an image model with its image processor and, for some tasks, its tokenizer."""

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
from services.engine.labels.class_names import class_names

_LABELLED = ("Classification", "Detection", "Segmentation", "ViltForQuestionAnswering")
_READ_LABELS = frozenset(MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES.values())


@dataclass(frozen=True)
class LoadedVisionModel:
    """A loaded model with its image processor and tokenizer."""

    model: PreTrainedModel
    processor: Any
    """Its image processor, on Pillow and numpy. It keeps no state between calls, so threads may share it. None if the
    model reads no images."""
    tokenizer: PreTrainedTokenizerBase | None
    """Loaded only if the task needs texts too."""
    device: torch.device
    revision: str
    quantization: str = ""
    """Method and kind of quantization; empty if the weights are not quantized."""
    missing: tuple[str, ...] = ()
    """Names of weights that are missing in the checkpoint and were initialized randomly."""

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    @property
    def labels(self) -> list[str]:
        """The model's own labels by index; empty if its head has none."""
        labelled = any(word in self.architecture for word in _LABELLED) and self.architecture not in _READ_LABELS
        return class_names(self.config.id2label) if labelled else []

    @property
    def context_tokens(self) -> int:
        """The most tokens of a text that the model reads; 0 if it reads no text."""
        if self.tokenizer is None:
            return 0
        context = decoder_context(self.config, self.tokenizer)
        return min(context, getattr(self.config, "max_text_len", context))  # max_text_len: Grounding DINO

    @property
    def architecture(self) -> str:
        """The name of the model's class."""
        return type(self.model).__name__


def load_vision_model(
    checkpoint: Checkpoint,
    kind: Any,
    *,
    optional: tuple[str, ...] = (),
    reads_text: bool = False,
    reads_images: bool = True,
) -> LoadedVisionModel:
    """Loads a checkpoint with the Auto class `kind`. Weights whose names begin with one of `optional` may be missing.

    Raises:
        ModelRefused: its files are missing or unsafe to load, or lack other weights that `kind` needs.
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
