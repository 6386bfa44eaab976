"""Writes the benchmarked models: random weights in real shapes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.random_weights import made_once
from benchmarks.text.vocabulary import SIZE, save_tokenizer

CONTEXT_TOKENS = 8192


@dataclass(frozen=True)
class Shape:
    """The dimensions of a Llama."""

    name: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("wide", layers=12, hidden=512, feed_forward=2048, heads=8, key_value_heads=4),
        # Little arithmetic per layer, so that the engine's overhead shows.
        Shape("narrow", layers=30, hidden=256, feed_forward=1024, heads=4, key_value_heads=2),
    )
}


def checkpoint(shape: Shape, cache: Path) -> Path:
    """Returns the folder of a checkpoint of this shape, written to `cache` on first use."""
    return made_once(cache, shape.name, partial(_make, shape))


def _make(shape: Shape, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        # Without an end-of-sequence token, every answer has the requested length in every system.
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    save_tokenizer(folder)
