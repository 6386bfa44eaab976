"""Loads a checkpoint that generates text: the model, its tokenizer, and the defaults of its configuration."""

import logging
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)

from services.engine.adapters.adapter import Adapter
from services.engine.adapters.beside import AdaptersBeside
from services.engine.checkpoint import (
    TRUST_NOTHING,
    Checkpoint,
    ModelRefused,
    Trust,
    read_config,
    read_model,
    read_tokenizer,
    refusals,
    revision_of,
)
from services.engine.context import decoder_context, source_context
from services.engine.generation.attention import encoder_decoder
from services.engine.generation.attention.backend import register
from services.engine.generation.requests.request import EarlyStopping
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.model_rules import output_rules, require_possible, token_ids
from services.engine.multimodal.processor import MediaProcessor
from services.engine.parallel.narrow_reading import rounded_count
from services.engine.pictures.model import PictureModel

log = logging.getLogger(__name__)

HONOURED = {"do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"} | {
    "no_repeat_ngram_size", "bad_words_ids", "max_new_tokens", "min_new_tokens",
    "eos_token_id", "bos_token_id", "pad_token_id", "max_length", "min_length", "use_cache",
    "num_return_sequences", "num_beams", "length_penalty", "early_stopping",
    "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens",
    "encoder_repetition_penalty", "encoder_no_repeat_ngram_size",
    "transformers_version", "output_attentions", "output_hidden_states", "_from_model_config",
}  # fmt: skip
"""Fields of a generation configuration that the engine applies, or that change no output."""


EARLY_STOPPING = {True: EarlyStopping.FIRST, False: EarlyStopping.LIKELY, "never": EarlyStopping.NEVER}
"""Keys are the values of `early_stopping` in a generation configuration."""


@dataclass(frozen=True)
class LoadedModel:
    """A language model with its tokenizer, ready for the engine."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    defaults: ModelDefaults
    device: torch.device
    revision: str
    context_tokens: int
    """Prompt and output together; for an encoder-decoder, the decoder's start tokens and its output."""
    vocabulary_size: int
    parameter_count: int
    quantization: str = ""
    """Method and kind, such as `bitsandbytes-nf4`; empty where the weights are not quantized."""
    rounded_parameter_count: int = 0
    """Parameters that were rounded to 8 bits while loading."""
    decoder_start_ids: tuple[int, ...] = ()
    """The first tokens of an encoder-decoder's decoder; empty for other models."""
    source_tokens: int = 0
    """The context length of the encoder; 0 where there is none."""
    source_vocabulary_size: int = 0
    """Of the input embeddings, which may differ from the output's."""
    media: MediaProcessor | None = None
    """What prepares images and recordings in its prompts, where it reads any."""
    pictures: PictureModel | None = None
    """How it reads the picture that it writes about, where it does."""
    adapters: AdaptersBeside | None = None
    """The adapters that requests may name, where there are any."""

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        return type(self.model).__name__

    @property
    def generator(self) -> PreTrainedModel:
        """The module that generates: the model, or a part of it."""
        return self.model if self.pictures is None else self.pictures.generator

    @property
    def attention(self) -> str:
        """The attention implementation of the part that generates."""
        return str(self._generating.config._attn_implementation)

    def attend_by(self, implementation: str) -> None:
        """Sets the attention implementation of the part that generates; media encoders keep their own."""
        self._generating.set_attn_implementation(implementation)

    @property
    def _generating(self) -> PreTrainedModel:
        return self.model if self.media is None else self.model.get_decoder()


def load_language_model(
    source: str,
    *,
    revision: str | None,
    device: torch.device,
    dtype: str,
    quantization: str = "none",
    trust: Trust = TRUST_NOTHING,
    rank_count: int = 1,
    adapter: Adapter | None = None,
) -> LoadedModel:
    """Loads the checkpoint `source`, a folder or a hub id: a decoder, or an encoder and a decoder.

    The arguments are those of Checkpoint. With several ranks, this rank's part of a decoder is loaded.

    Raises:
        ModelRefused: it generates no text, or its files are missing or unsafe to load.
    """
    return load_language_checkpoint(
        Checkpoint(source, device, revision, dtype, quantization, trust, rank_count=rank_count, adapter=adapter)
    )


def load_language_checkpoint(checkpoint: Checkpoint) -> LoadedModel:
    """Loads a decoder, or an encoder and a decoder. Raises ModelRefused as `load_language_model` does."""
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
        kind_of_model = _kind_of_model(config, checkpoint.source)
        tokenizer = read_tokenizer(checkpoint)
        model = read_model(checkpoint, config, kind_of_model)
    return loaded_model(checkpoint, model, tokenizer)


def loaded_model(
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    media: MediaProcessor | None = None,
    *,
    followed: frozenset[str] = frozenset(),
) -> LoadedModel:
    """Returns a model that was read from a checkpoint, ready for the engine. Raises ModelRefused.

    `followed` are fields of a generation configuration that this kind of model applies beside HONOURED.
    """
    register()
    encoder_decoder.register()
    warn_of_ignored_defaults(model, HONOURED | followed)
    starts = _decoder_starts(model)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        defaults=_defaults(model),
        device=checkpoint.device,
        revision=revision_of(checkpoint),
        context_tokens=decoder_context(model.config, tokenizer),
        quantization=checkpoint.quantized_by(model.config),
        rounded_parameter_count=rounded_count(model),
        vocabulary_size=_vocabulary_size(model),
        parameter_count=model.num_parameters(),
        decoder_start_ids=starts,
        source_tokens=source_context(model.config, tokenizer) if starts else 0,
        source_vocabulary_size=int(model.get_input_embeddings().num_embeddings),  # type: ignore[union-attr]
        media=media,
    )


def _kind_of_model(config: PretrainedConfig, source: str) -> Any:
    """Returns the class that loads a model that generates text."""
    own = getattr(config, "auto_map", None) or {}
    kinds = (
        (AutoModelForSeq2SeqLM, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, config.is_encoder_decoder),
        (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING, not config.is_encoder_decoder),
    )
    for kind, known, fits in kinds:
        if fits and (type(config) in known or kind.__name__ in own):
            return kind
    raise ModelRefused(
        f"{source} is a {config.model_type} checkpoint, which generates no text on its own. Serve a causal language "
        "model, such as one of the Llama, Qwen, Mistral or Gemma families, or an encoder-decoder such as T5 or BART; "
        "services.vision, services.speech and services.multimodal serve others. --task tells what a model that "
        "reads once is served for, where its configuration does not."
    )


def _decoder_starts(model: PreTrainedModel) -> tuple[int, ...]:
    """Returns the tokens with which `generate` starts the decoder of an encoder-decoder."""
    if not model.config.is_encoder_decoder:
        return ()
    own = model.generation_config
    assert own is not None
    start = own.bos_token_id if own.decoder_start_token_id is None else own.decoder_start_token_id
    if not isinstance(start, int):
        raise ModelRefused("Its generation configuration names no decoder_start_token_id, nor a bos_token_id.")
    return (start,)


def _vocabulary_size(model: PreTrainedModel) -> int:
    """Returns the vocabulary size of the model's output."""
    own: Any = model.get_output_embeddings() if model.config.is_encoder_decoder else model.get_input_embeddings()
    return int(own.out_features if isinstance(own, nn.Linear) else own.num_embeddings)


def _defaults(model: PreTrainedModel) -> ModelDefaults:
    own = model.generation_config
    assert own is not None
    require_possible(own)
    return ModelDefaults(
        do_sample=bool(own.do_sample),
        temperature=own.temperature,
        top_k=own.top_k,
        top_p=own.top_p,
        min_p=own.min_p,
        typical_p=own.typical_p,
        repetition_penalty=own.repetition_penalty,
        no_repeat_ngram_size=own.no_repeat_ngram_size,
        bad_words=tuple(map(tuple, own.bad_words_ids or [])),
        max_new_tokens=own.max_new_tokens or None,
        min_new_tokens=own.min_new_tokens or None,
        max_length=own.max_length or None,
        min_length=own.min_length or None,
        end_token_ids=frozenset(token_ids(own.eos_token_id)),
        rules=output_rules(own),
        decoder_start_ids=_decoder_starts(model),
        candidate_count=own.num_return_sequences,
        beam_count=own.num_beams,
        length_penalty=own.length_penalty,
        early_stopping=None if own.early_stopping is None else EARLY_STOPPING[own.early_stopping],
    )


def warn_of_ignored_defaults(model: PreTrainedModel, followed: Set[str]) -> None:
    """Logs which fields of a model's generation configuration are set but not among those `followed`."""
    assert model.generation_config is not None
    ignored = sorted(set(model.generation_config.to_diff_dict()) - followed)
    if ignored:
        log.warning("The model's generation configuration sets what is not followed here: %s", ", ".join(ignored))
