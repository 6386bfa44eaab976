"""Loads a checkpoint as it is, on the device and in the dtype asked for; safetensors only and none of its code, unless
the operator says otherwise.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)

from services.engine.context import decoder_context, source_context
from services.engine.generation.attention import encoder_decoder
from services.engine.generation.attention.backend import register
from services.engine.generation.request import EarlyStopping
from services.engine.generation.resolution import ModelDefaults
from services.engine.model_rules import output_rules, token_ids
from services.engine.quantization import own_quantization, quantization_config, unloadable

log = logging.getLogger(__name__)

HONOURED = {"do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"} | {
    "no_repeat_ngram_size", "bad_words_ids", "max_new_tokens", "min_new_tokens",
    "eos_token_id", "bos_token_id", "pad_token_id", "max_length", "min_length", "use_cache",
    "num_return_sequences", "num_beams", "length_penalty", "early_stopping",
    "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens",
    "encoder_repetition_penalty", "encoder_no_repeat_ngram_size",
    "transformers_version", "output_attentions", "output_hidden_states", "_from_model_config",
}  # fmt: skip
"""Fields of a generation configuration that are followed here, or that change no output."""


EARLY_STOPPING = {True: EarlyStopping.FIRST, False: EarlyStopping.LIKELY, "never": EarlyStopping.NEVER}
"""By the values of `early_stopping` in a generation configuration."""


class ModelRefused(Exception):
    """The checkpoint cannot be served here. The message says why and what to do."""


@dataclass(frozen=True)
class Trust:
    """What an operator lets a checkpoint do."""

    remote_code: bool = False
    """Run the code that comes with it."""
    pickled_weights: bool = False
    """Have its weights unpickled where it has none in safetensors."""


@dataclass(frozen=True)
class LoadedModel:
    """A language model with its tokenizer, ready for the engine."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    defaults: ModelDefaults
    device: torch.device
    revision: str
    context_tokens: int
    """Prompt and output together; for an encoder-decoder, what its decoder starts with and its output."""
    vocabulary_size: int
    parameter_count: int
    quantization: str = ""
    """Method and kind; empty where the weights are as wide as they are computed in."""
    decoder_start_ids: tuple[int, ...] = ()
    """What the decoder of an encoder-decoder starts with; empty for other models."""
    source_tokens: int = 0
    """Tokens the encoder reads at most; 0 where there is none."""
    source_vocabulary_size: int = 0
    """Of what the model reads, which may differ from what it writes."""

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        return type(self.model).__name__


def resolve_device(name: str) -> torch.device:
    """Returns the device called `name`; `auto` is the first GPU, or the CPU where there is none.

    Raises:
        ModelRefused: no such device here.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelRefused(f"--device {name}: this machine shows {torch.cuda.device_count()} GPUs. Use auto or cpu.")
    return device


def load_language_model(
    source: str,
    *,
    revision: str | None,
    device: torch.device,
    dtype: str,
    quantization: str = "none",
    trust: Trust = Trust(),
) -> LoadedModel:
    """Loads the checkpoint `source`, a folder or a hub id: a decoder, or an encoder and a decoder.

    `dtype` is a name of torch's, or `auto` for the checkpoint's own; `quantization` see `quantization_config`.

    Raises:
        ModelRefused: it generates no text, or its files are missing or unsafe to load.
    """
    register()
    encoder_decoder.register()
    try:
        config, tokenizer, model = _read(source, revision, device, dtype, quantization, trust)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelRefused(f"{source} cannot be loaded: {error}{advice(error)}") from error
    _warn_of_ignored_defaults(model)
    starts = _decoder_starts(model)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        defaults=_defaults(model),
        device=device,
        revision=revision_of(source, config),
        context_tokens=decoder_context(model.config, tokenizer),
        quantization=own_quantization(config) if quantization == "none" else quantization,
        vocabulary_size=_vocabulary_size(model),
        parameter_count=model.num_parameters(),
        decoder_start_ids=starts,
        source_tokens=source_context(model.config, tokenizer) if starts else 0,
        source_vocabulary_size=int(model.get_input_embeddings().num_embeddings),  # type: ignore[union-attr]
    )


def revision_of(source: str, config: PretrainedConfig) -> str:
    """Returns the hub commit, or a digest over the configuration and the weights of a folder."""
    if commit := getattr(config, "_commit_hash", None):
        return str(commit)
    digest = hashlib.sha256()
    weights = [*Path(source).glob("*.safetensors")] or [*Path(source).glob("*.bin")]
    for path in sorted([Path(source) / "config.json", *weights]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256-{digest.hexdigest()[:16]}"


def advice(error: Exception) -> str:
    """Returns which flag would have let a checkpoint load that failed with `error`, as a sentence; mostly nothing."""
    if "trust_remote_code" in str(error):
        return " With --trust-remote-code its own code is run: read it first."
    if "model.safetensors" in str(error):
        return (
            " It has no weights in safetensors. With --allow-pickle-weights others are unpickled, which may run code "
            "of whoever made them; converting them is safer."
        )
    return ""


def _read(
    source: str, revision: str | None, device: torch.device, dtype: str, quantization: str, trust: Trust
) -> tuple[PretrainedConfig, PreTrainedTokenizerBase, PreTrainedModel]:
    if trust.remote_code:
        log.warning("Code that comes with %s may be run, with all rights of this process", source)
    if trust.pickled_weights:
        log.warning("Weights of %s may be unpickled, which runs what their maker put there", source)
    shared: dict[str, Any] = {"revision": revision, "trust_remote_code": trust.remote_code}
    config = AutoConfig.from_pretrained(source, **shared)
    kind_of_model = _kind_of_model(config, source)
    if reason := unloadable(config):
        raise ModelRefused(f"{source} cannot be loaded: {reason}")
    kind = (getattr(config, "dtype", None) or torch.float32) if dtype == "auto" else getattr(torch, dtype)
    tokenizer = AutoTokenizer.from_pretrained(source, **shared)
    # Its declared type leaves out what `output_loading_info` adds.
    pair: Any = kind_of_model.from_pretrained(
        source,
        **shared,
        dtype=kind,
        quantization_config=quantization_config(quantization, kind),
        device_map={"": device},
        use_safetensors=None if trust.pickled_weights else True,
        output_loading_info=True,
    )
    model, found = pair
    _require_all_weights(found["missing_keys"], source)
    return config, tokenizer, model


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
        "model, such as one of the Llama, Qwen, Mistral or Gemma families, or an encoder-decoder such as T5 or BART."
    )


def _decoder_starts(model: PreTrainedModel) -> tuple[int, ...]:
    """Returns what `generate` starts the decoder of an encoder-decoder with."""
    if not model.config.is_encoder_decoder:
        return ()
    own = model.generation_config
    assert own is not None
    start = own.bos_token_id if own.decoder_start_token_id is None else own.decoder_start_token_id
    if not isinstance(start, int):
        raise ModelRefused("Its generation configuration names no decoder_start_token_id, nor a bos_token_id.")
    return (start,)


def _vocabulary_size(model: PreTrainedModel) -> int:
    """Returns how many tokens the model, or the decoder it has beside an encoder, has an embedding for."""
    own: Any = model.get_output_embeddings() if model.config.is_encoder_decoder else model.get_input_embeddings()
    return int(own.out_features if isinstance(own, nn.Linear) else own.num_embeddings)


def _require_all_weights(missing: set[str], source: str) -> None:
    """Refuses what would otherwise be served with random weights in the places of those it lacks."""
    if missing:
        raise ModelRefused(f"{source} lacks {len(missing)} of the model's weights, such as {min(missing)}.")


def _defaults(model: PreTrainedModel) -> ModelDefaults:
    own = model.generation_config
    assert own is not None
    starts = len(_decoder_starts(model))
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
        max_new_tokens=own.max_new_tokens or behind(own.max_length, starts),
        min_new_tokens=own.min_new_tokens or behind(own.min_length, starts),
        end_token_ids=frozenset(token_ids(own.eos_token_id)),
        rules=output_rules(own),
        decoder_start_ids=_decoder_starts(model),
        candidate_count=own.num_return_sequences,
        beam_count=own.num_beams,
        length_penalty=own.length_penalty,
        early_stopping=None if own.early_stopping is None else EARLY_STOPPING[own.early_stopping],
    )


def behind(length: int | None, starts: int) -> int | None:
    """Returns how many tokens of a length that counts those a decoder starts with are new, if it has any."""
    return max(length - starts, 1) if length and starts else None


def _warn_of_ignored_defaults(model: PreTrainedModel) -> None:
    assert model.generation_config is not None
    ignored = sorted(set(model.generation_config.to_diff_dict()) - HONOURED)
    if ignored:
        log.warning("The model's generation configuration sets what is not followed here: %s", ", ".join(ignored))
