"""Writes the benchmarked models: random weights in the shapes of widely used models."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BloomConfig,
    MambaConfig,
    MarianConfig,
    PreTrainedConfig,
    T5Config,
)

from benchmarks.random_weights import made_once
from benchmarks.text.vocabulary import save_tokenizer


def _transformer(width: int, layers: int, heads: int) -> dict[str, Any]:
    sides = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in (
        ("layers", layers), ("attention_heads", heads), ("ffn_dim", 4 * width),
    )}  # fmt: skip
    return {"d_model": width, **sides}


SHAPES: dict[str, PreTrainedConfig] = {
    "bart-base": BartConfig(vocab_size=50265, **_transformer(768, layers=6, heads=12)),
    "t5-base": T5Config(
        vocab_size=32128, d_model=768, d_ff=3072, num_layers=12, num_decoder_layers=12, num_heads=12,
        pad_token_id=0, eos_token_id=1, **dict[str, Any](decoder_start_token_id=0),
    ),
    "marian-base": MarianConfig(
        vocab_size=58101, **_transformer(512, layers=6, heads=8),
        pad_token_id=58100, eos_token_id=0, decoder_start_token_id=58100,
    ),
    "mamba": MambaConfig(vocab_size=8192, hidden_size=512, num_hidden_layers=12),
    "bloom": BloomConfig(vocab_size=8192, hidden_size=512, n_layer=12, n_head=8),
}  # fmt: skip


def checkpoint(name: str, dtype: str, cache: Path) -> Path:
    """Returns the folder of a checkpoint of this shape and dtype, written to `cache` on first use."""
    return made_once(cache, f"{name}-{dtype}", partial(_make, SHAPES[name], dtype))


def _make(config: PreTrainedConfig, dtype: str, folder: Path) -> None:
    automatic = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = automatic.from_config(config, dtype=getattr(torch, dtype))
    model.generation_config.forced_eos_token_id = None
    save_tokenizer(folder)
    model.save_pretrained(folder)
