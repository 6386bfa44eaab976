"""Loads a checkpoint as it is: safetensors only, none of its code, on the device and in the dtype asked for."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from services.engine.generation.attention.backend import IMPLEMENTATION, register
from services.engine.generation.request import EarlyStopping
from services.engine.generation.resolution import ModelDefaults
from services.engine.quantization import own_quantization, quantization_config, unloadable

log = logging.getLogger(__name__)

HONOURED = {"do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"} | {
    "no_repeat_ngram_size", "bad_words_ids", "max_new_tokens", "min_new_tokens",
    "num_return_sequences", "num_beams", "length_penalty", "early_stopping",
    "eos_token_id", "bos_token_id", "pad_token_id", "max_length", "use_cache",
    "transformers_version", "output_attentions", "output_hidden_states", "_from_model_config",
}  # fmt: skip
"""Fields of a generation configuration that are followed here, or that change no output."""


_EARLY_STOPPING = {True: EarlyStopping.FIRST, False: EarlyStopping.LIKELY, "never": EarlyStopping.NEVER}


class ModelRefused(Exception):
    """The checkpoint cannot be served here. The message says why and what to do."""


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model with its tokenizer, ready for the engine."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    defaults: ModelDefaults
    device: torch.device
    revision: str
    context_tokens: int
    vocabulary_size: int
    parameter_count: int
    quantization: str = ""
    """Method and kind; empty where the weights are as wide as they are computed in."""

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


def load_causal_lm(
    source: str, *, revision: str | None, device: torch.device, dtype: str, quantization: str = "none"
) -> LoadedModel:
    """Loads the checkpoint `source`, a folder or a hub id, for the paged attention of the engine.

    `dtype` is a name of torch's, or `auto` for the checkpoint's own; `quantization` see `quantization_config`.

    Raises:
        ModelRefused: it is no causal language model, or its files are missing or unsafe to load.
    """
    register()
    try:
        config, tokenizer, model = _read(source, revision, device, dtype, quantization)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelRefused(f"{source} cannot be loaded: {error}") from error
    text_config = model.config.get_text_config()
    _warn_of_ignored_defaults(model)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        defaults=_defaults(model),
        device=device,
        revision=revision_of(source, config),
        context_tokens=int(getattr(text_config, "max_position_embeddings", None) or 4096),
        parameter_count=int(model.num_parameters()),
        quantization=own_quantization(config) if quantization == "none" else quantization,
        vocabulary_size=int(model.get_input_embeddings().num_embeddings),  # type: ignore[union-attr, arg-type]
    )


def revision_of(source: str, config: PretrainedConfig) -> str:
    """Returns the hub commit, or a digest over the configuration and the weights of a folder."""
    if commit := getattr(config, "_commit_hash", None):
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted([Path(source) / "config.json", *Path(source).glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256-{digest.hexdigest()[:16]}"


def _read(
    source: str, revision: str | None, device: torch.device, dtype: str, quantization: str
) -> tuple[PretrainedConfig, PreTrainedTokenizerBase, PreTrainedModel]:
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    _require_causal_lm(config, source)
    if reason := unloadable(config):
        raise ModelRefused(f"{source} cannot be loaded: {reason}")
    kind = (getattr(config, "dtype", None) or torch.float32) if dtype == "auto" else getattr(torch, dtype)
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    # Its declared type leaves out what `output_loading_info` adds.
    pair: Any = AutoModelForCausalLM.from_pretrained(
        source,
        revision=revision,
        dtype=kind,
        quantization_config=quantization_config(quantization, kind),
        device_map={"": device},
        attn_implementation=IMPLEMENTATION,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    model, found = pair
    _require_all_weights(found["missing_keys"], source)
    return config, tokenizer, model


def _require_causal_lm(config: PretrainedConfig, source: str) -> None:
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelRefused(
            f"{source} is a {config.model_type} checkpoint, which generates no text on its own. Serve a causal "
            "language model, such as one of the Llama, Qwen, Mistral or Gemma families."
        )


def _require_all_weights(missing: set[str], source: str) -> None:
    """Refuses what would otherwise be served with random weights in the places of those it lacks."""
    if missing:
        raise ModelRefused(f"{source} lacks {len(missing)} of the model's weights, such as {min(missing)}.")


def _defaults(model: PreTrainedModel) -> ModelDefaults:
    own = model.generation_config
    assert own is not None
    ends = own.eos_token_id if own.eos_token_id is not None else []
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
        max_new_tokens=own.max_new_tokens,
        min_new_tokens=own.min_new_tokens,
        end_token_ids=frozenset(ends if isinstance(ends, list) else [ends]),
        candidate_count=own.num_return_sequences,
        beam_count=own.num_beams,
        length_penalty=own.length_penalty,
        early_stopping=None if own.early_stopping is None else _EARLY_STOPPING[own.early_stopping],
    )


def _warn_of_ignored_defaults(model: PreTrainedModel) -> None:
    assert model.generation_config is not None
    ignored = sorted(set(model.generation_config.to_diff_dict()) - HONOURED)
    if ignored:
        log.warning("The model's generation configuration sets what is not followed here: %s", ", ".join(ignored))
