"""Loads an audio model by an Auto class, with its feature extractor and tokenizer."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoFeatureExtractor,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from services.engine.audio.extractors import show_feature_extractors
from services.engine.checkpoint import (
    Checkpoint,
    ModelRefused,
    read_config,
    read_incomplete_model,
    read_tokenizer,
    refusals,
    revision_of,
)
from services.engine.context import decoder_context
from services.engine.labels.class_names import class_names


@dataclass(frozen=True)
class LoadedAudioModel:
    """A model with its feature extractor, ready for the batcher."""

    model: PreTrainedModel
    extractor: Any
    """Makes features of samples. Calls share no state, so threads may share it."""
    tokenizer: PreTrainedTokenizerBase | None
    """None for a model loaded without texts."""
    device: torch.device
    revision: str
    quantization: str = ""
    """Method and type; empty if the weights are not quantized."""
    missing: tuple[str, ...] = ()
    """Names of weights that the files lack; they are randomly initialized."""

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.model.config

    @property
    def rate(self) -> int:
        """Sample rate in Hz of the audio it reads."""
        return int(self.extractor.sampling_rate)

    @property
    def context_tokens(self) -> int:
        """Longest text it reads, in tokens; 0 without a tokenizer."""
        if self.tokenizer is None:
            return 0
        # RoBERTa's positions start behind the padding index: fewer tokens fit than there are positions.
        return min(decoder_context(self.config, self.tokenizer), self.tokenizer.model_max_length)

    @property
    def labels(self) -> list[str]:
        """The model's labels by index; empty for a model without a classification head."""
        return class_names(self.config.id2label) if "Classification" in self.architecture else []

    @property
    def architecture(self) -> str:
        """Name of the model's class."""
        return type(self.model).__name__


def load_audio_model(
    checkpoint: Checkpoint, kind: Any, *, optional: tuple[str, ...] = (), has_text: bool = False
) -> LoadedAudioModel:
    """Loads a checkpoint by the Auto class `kind`. Weights whose names begin with one of `optional` may be missing.

    Raises:
        ModelRefused: files are missing or unsafe to load, or lack other weights.
    """
    with refusals(checkpoint.source):
        config: PretrainedConfig = read_config(checkpoint)
        show_feature_extractors()
        extractor = AutoFeatureExtractor.from_pretrained(checkpoint.source, **checkpoint.shared)
        tokenizer = read_tokenizer(checkpoint) if has_text else None
        model, missing = read_incomplete_model(checkpoint, config, kind, optional)
    if not getattr(extractor, "sampling_rate", None):
        raise ModelRefused(f"{checkpoint.source} does not say how many samples a second it reads.")
    return LoadedAudioModel(
        model=model.eval(),
        extractor=extractor,
        tokenizer=tokenizer,
        device=checkpoint.device,
        revision=revision_of(checkpoint),
        quantization=checkpoint.quantized_by(config),
        missing=tuple(missing),
    )
