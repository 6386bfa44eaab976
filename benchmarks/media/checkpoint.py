"""Writes the benchmarked model: a LLaVA with random weights, from real shapes of a CLIP tower and a Llama."""

from pathlib import Path
from typing import Any

from benchmarks.random_weights import made_once
from benchmarks.text.checkpoint import CONTEXT_TOKENS, SHAPES
from benchmarks.text.vocabulary import SIZE, save_tokenizer

SIDE, PATCH = 224, 16
TOKENS = (SIDE // PATCH) ** 2
"""Tokens of one image in a prompt."""


def checkpoint(cache: Path) -> Path:
    """Returns the folder of the checkpoint, written to `cache` on first use."""
    return made_once(cache, "llava", _make)


def _make(folder: Path) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer, LlavaConfig, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    save_tokenizer(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    side = {"height": SIDE, "width": SIDE}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=side), tokenizer, patch_size=PATCH,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template="{% for m in messages %}{% for p in m.content %}"
        "{{ p.text if p.type == 'text' else '<image>' }}{% endfor %}{% endfor %}",
    )  # fmt: skip
    text = SHAPES["wide"]
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "image_size": SIDE, "patch_size": PATCH,
        },
        text_config={
            "model_type": "llama", "vocab_size": SIZE + 1, "hidden_size": text.hidden,
            "intermediate_size": text.feed_forward, "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads, "num_key_value_heads": text.key_value_heads,
            "max_position_embeddings": CONTEXT_TOKENS, "bos_token_id": None, "eos_token_id": None,
            "pad_token_id": None, "tie_word_embeddings": False,
        },
        image_token_index=SIZE, tie_word_embeddings=False,
    )  # fmt: skip
    AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
