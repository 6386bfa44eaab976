"""Loads a text model that reads once, by the Auto class of what is wanted of it, with its tokenizer."""

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

_UNUSED = ("pooler.",)
"""Parts that checkpoints leave out and nothing here reads."""


@dataclass(frozen=True)
class LoadedEncoder:
    """A model with its tokenizer, ready for the batcher."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    revision: str
    context_tokens: int
    """Tokens it reads at once, special ones included."""
    quantization: str = ""
    """Method and kind; empty where the weights are as wide as they are computed in."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below it."""
        try:
            embeddings: Any = self.model.get_input_embeddings()
            return int(embeddings.weight.shape[0])  # I-BERT's tell nothing else
        except (NotImplementedError, AttributeError):  # CANINE's are of characters, and Perceiver shows its latents
            return len(self.tokenizer)

    @property
    def pad_id(self) -> int:
        """What stands behind a text that is shorter than its neighbours.

        It is the configuration's, by which a decoder that classifies finds the last token of a text.
        """
        own = getattr(self.model.config.get_text_config(), "pad_token_id", None)
        return own if isinstance(own, int) and own >= 0 else 0

    @property
    def labels(self) -> list[str]:
        """The model's own labels by index; none for a model without a head that knows any."""
        config: Any = self.model.config
        named = config.id2label if self.architecture.endswith(("Classification",)) else {}
        return [named[i] for i in sorted(named)]

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        return type(self.model).__name__


def load_text_encoder(checkpoint: Checkpoint, kind: Any) -> LoadedEncoder:
    """Loads a checkpoint by the Auto class `kind`.

    Raises:
        ModelRefused: its files are missing or unsafe to load, or lack weights that `kind` needs.
    """
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        tokenizer = read_tokenizer(checkpoint)
        model = read_model(checkpoint, config, _encoding(kind, config), _UNUSED)
    text_config: Any = model.config.get_text_config()
    text_config.use_cache = False  # nothing goes on from what was read
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
    """Returns the Auto class that loads what reads texts: of T5 and its kin the encoder, which is published alone."""
    listed: Any = MODEL_FOR_TEXT_ENCODING_MAPPING
    known = kind is AutoModel and type(config) in listed
    alone = known and listed[type(config)].__name__.endswith("EncoderModel")
    return AutoModelForTextEncoding if alone else kind


def encoder_context(model: nn.Module, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns how many tokens the model reads at once: what its positions and its tokenizer both allow."""
    context = decoder_context(config, tokenizer)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            # RoBERTa and its kin count positions from behind the padding's.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            context = min(context, module.num_embeddings - offset)
    told = tokenizer.model_max_length
    return min(context, int(told)) if told else context
