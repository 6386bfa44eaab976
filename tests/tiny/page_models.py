"""Tiny random checkpoints for visual and document question answering."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LayoutLMConfig,
    LayoutLMForQuestionAnswering,
    LayoutLMv3Config,
    LayoutLMv3ForQuestionAnswering,
    LayoutLMv3Tokenizer,
    ViltConfig,
    ViltForQuestionAnswering,
)

from tests.made_once import written_once
from tests.tiny.encoders import bytelevel, wordpiece
from tests.tiny.vision_models import processor_class, stir

CONTEXT = 64
"""Longest input in tokens, special ones included."""
ANSWERS = ["yes", "no", "red", "two", "a cat", "nothing"]

_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@written_once
def write_page_model(folder: Path, name: str) -> Path:
    """Writes a random LayoutLMv3 or LayoutLM (`layoutlm`, or `layoutlm-bytes` with RoBERTa's byte-level tokens)."""
    torch.manual_seed(0)
    if name == "layoutlmv3":
        tokenizer: Any = _boxed()
        config: Any = LayoutLMv3Config(
            vocab_size=len(tokenizer), max_position_embeddings=CONTEXT + 2, coordinate_size=6, shape_size=4,
            input_size=32, patch_size=8, type_vocab_size=1, **_LAYERS,
        )  # fmt: skip
        model: Any = LayoutLMv3ForQuestionAnswering(config)
        processor_class(name)(size={"height": 32, "width": 32}).save_pretrained(folder)
    else:
        tokenizer = wordpiece() if name == "layoutlm" else bytelevel()
        config = LayoutLMConfig(vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, **_LAYERS)
        model = LayoutLMForQuestionAnswering(config)
    return _save(folder, model, tokenizer)


@written_once
def write_vilt(folder: Path) -> Path:
    """Writes a random ViLT whose classes are ANSWERS."""
    torch.manual_seed(0)
    config = ViltConfig(
        vocab_size=len(wordpiece()), max_position_embeddings=40, image_size=32, patch_size=8,
        id2label=dict(enumerate(ANSWERS)), **_LAYERS,
    )  # fmt: skip
    processor_class("vilt")(size={"shortest_edge": 32}, size_divisor=8).save_pretrained(folder)
    return _save(folder, ViltForQuestionAnswering(config), wordpiece())


def _save(folder: Path, model: Any, tokenizer: Any) -> Path:
    stir(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _boxed() -> LayoutLMv3Tokenizer:
    """Returns LayoutLMv3's tokenizer, over the vocabulary of the other models."""
    own = json.loads(bytelevel().backend_tokenizer.to_str())["model"]
    return LayoutLMv3Tokenizer(
        vocab=own["vocab"], merges=[tuple(merge) for merge in own["merges"]], model_max_length=CONTEXT
    )
