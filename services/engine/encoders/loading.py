"""Loads a text encoder with its tokenizer, by the Auto class of the task."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from services.engine.checkpoint import Checkpoint, read_config, read_model, read_tokenizer, refusals, revision_of
from services.engine.context import decoder_context
from services.engine.labels.class_names import class_names

_UNUSED = ("pooler.",)
"""Weights that checkpoints may lack, since nothing here uses them."""


@dataclass(frozen=True)
class LoadedEncoder:
    """A model with its tokenizer, ready for the batcher."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    revision: str
    context_tokens: int
    """Longest input in tokens, special ones included."""
    quantization: str = ""
    """Method and kind; empty if the weights are not quantized."""

    @property
    def vocabulary_size(self) -> int:
        """All token ids are below this."""
        try:
            embeddings: Any = self.model.get_input_embeddings()
            return int(embeddings.weight.shape[0])  # I-BERT's embeddings have no `num_embeddings`
        except (NotImplementedError, AttributeError):  # CANINE embeds characters; Perceiver returns its latents
            return len(self.tokenizer)

    @property
    def pad_id(self) -> int:
        """The token id that pads shorter texts in a batch.

        It is that of the configuration, by which decoders that classify find the last token of a text.
        """
        own = getattr(self.model.config.get_text_config(), "pad_token_id", None)
        return own if isinstance(own, int) and own >= 0 else 0

    @property
    def labels(self) -> list[str]:
        """The model's labels by index; empty for a model without a classification head."""
        config: Any = self.model.config
        return class_names(config.id2label) if self.architecture.endswith("Classification") else []

    @property
    def architecture(self) -> str:
        """The name of the model's class."""
        return type(self.model).__name__


def load_text_encoder(checkpoint: Checkpoint, kind: Any) -> LoadedEncoder:
    """Loads a checkpoint by the Auto class `kind`.

    Raises:
        ModelRefused: Its files are missing or unsafe to load, or lack weights that `kind` needs.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        tokenizer = read_tokenizer(checkpoint)
        model = read_model(checkpoint, config, _encoding(kind, config), _UNUSED)
    text_config: Any = model.config.get_text_config()
    text_config.use_cache = False  # one forward per request needs no KV cache
    if getattr(text_config, "pad_token_id", None) is None:
        text_config.pad_token_id = tokenizer.pad_token_id
    return LoadedEncoder(
        model=model.eval(),
        tokenizer=tokenizer,
        device=checkpoint.device,
        revision=revision_of(checkpoint),
        context_tokens=encoder_context(model, config, tokenizer),
        quantization=checkpoint.quantized_by(config),
    )


def _encoding(kind: Any, config: PretrainedConfig) -> Any:
    """Returns the Auto class to load with: that of the encoder alone for models such as T5."""
    listed: Any = MODEL_FOR_TEXT_ENCODING_MAPPING
    known = kind is AutoModel and type(config) in listed
    alone = known and listed[type(config)].__name__.endswith("EncoderModel")
    return AutoModelForTextEncoding if alone else kind


def encoder_context(model: nn.Module, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the longest input in tokens that position embeddings, configuration and tokenizer all allow."""
    context = decoder_context(config, tokenizer)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            # RoBERTa and its relatives number positions from the padding index + 1.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            context = min(context, module.num_embeddings - offset)
    told = tokenizer.model_max_length
    return min(context, int(told)) if told else context
