"""Loads a model of audio by the Auto class of what is wanted of it, with what makes its features."""

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


@dataclass(frozen=True)
class LoadedAudioModel:
    """A model with its feature extractor, ready for the batcher."""

    model: PreTrainedModel
    extractor: Any
    """Makes features of samples, on numpy. One call keeps nothing for the next: threads may share it."""
    tokenizer: PreTrainedTokenizerBase | None
    """Where it was to read or write texts too."""
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
    def rate(self) -> int:
        """Samples per second of the audio it reads."""
        return int(self.extractor.sampling_rate)

    @property
    def context_tokens(self) -> int:
        """Tokens of a text that it reads; 0 where it reads none."""
        if self.tokenizer is None:
            return 0
        # Models of RoBERTa's kind have more places than they read tokens.
        return min(decoder_context(self.config, self.tokenizer), self.tokenizer.model_max_length)

    @property
    def labels(self) -> list[str]:
        """The model's own labels by index; none for a model without a head that knows any."""
        named = self.config.id2label if "Classification" in self.architecture else {}
        return [named[i] for i in sorted(named)]

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        return type(self.model).__name__


def load_audio_model(
    checkpoint: Checkpoint, kind: Any, *, optional: tuple[str, ...] = (), has_text: bool = False
) -> LoadedAudioModel:
    """Loads a checkpoint by the Auto class `kind`. Parts whose names begin with one of `optional` may lack weights.

    Raises:
        ModelRefused: its files are missing or unsafe to load, or lack weights that `kind` needs.
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
