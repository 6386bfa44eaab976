"""Tiny random checkpoints of image-text embedding models (such as CLIP), with processor and tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AlignConfig,
    AutoModel,
    ChineseCLIPConfig,
    CLIPConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Siglip2Config,
    SiglipConfig,
)

from tests.made_once import written_once
from tests.tiny.encoders import CONTEXT, bytelevel, wordpiece
from tests.tiny.vision_models import SIDE, processor_class, stir

WIDTH = 24
_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_TEXT: dict[str, Any] = _LAYERS | {"max_position_embeddings": CONTEXT}
_VISION: dict[str, Any] = _LAYERS | {"image_size": SIDE, "patch_size": 8}
_CROPPED = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
_SQUARE = {"size": {"height": SIDE, "width": SIDE}}

Maker = tuple[
    str, dict[str, Any], Callable[[], PreTrainedTokenizerFast], Callable[[int], tuple[type[PretrainedConfig], Any, Any]]
]
"""Processor, its settings, tokenizer, and configuration class with text and vision settings by vocabulary size."""

_MAKERS: dict[str, Maker] = {
    "clip": (
        "clip",
        _CROPPED,
        wordpiece,
        lambda words: (CLIPConfig, _TEXT | {"vocab_size": words, "eos_token_id": 3, "pad_token_id": 0}, _VISION),
    ),
    "chinese_clip": (
        "chinese_clip",
        _SQUARE | {"do_center_crop": False},
        wordpiece,
        lambda words: (ChineseCLIPConfig, _TEXT | {"vocab_size": words}, _VISION),
    ),
    "align": (
        "efficientnet",
        _SQUARE | {"do_center_crop": False},
        wordpiece,
        lambda words: (
            AlignConfig,
            _TEXT | {"vocab_size": words},
            {
                "image_size": SIDE, "hidden_dim": 32, "in_channels": [32, 16], "out_channels": [16, 24],
                "kernel_sizes": [3, 3], "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2],
                "depthwise_padding": [], "width_coefficient": 1.0, "depth_coefficient": 1.0,
            },
        ),
    ),
    "siglip": (
        "siglip",
        _SQUARE,
        bytelevel,
        lambda words: (SiglipConfig, _TEXT | {"vocab_size": words, "pad_token_id": 1, "projection_size": 32}, _VISION),
    ),
    "siglip2": (
        "siglip2",
        {"patch_size": 8, "max_num_patches": 16},
        bytelevel,
        lambda words: (
            Siglip2Config,
            _TEXT | {"vocab_size": words, "pad_token_id": 1, "projection_size": 32},
            _LAYERS | {"patch_size": 8, "num_patches": 16},
        ),
    ),
}  # fmt: skip


@written_once
def write_joint_model(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Writes a random model of the architecture `name`, its processor and its tokenizer."""
    processor, settings, make_tokenizer, make_config = _MAKERS[name]
    tokenizer = make_tokenizer()
    kind, text, vision = make_config(len(tokenizer))
    shared = {} if "siglip" in name else {"projection_dim": WIDTH}
    torch.manual_seed(seed)
    model = AutoModel.from_config(kind(text_config=text, vision_config=vision, **shared))
    stir(model)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor_class(processor)(**settings).save_pretrained(folder)
    return folder
