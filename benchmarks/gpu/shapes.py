"""Models in the sizes of real Llamas and mixtures of experts, with random weights made on the GPU."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3MoeConfig,
)

from benchmarks.random_weights import SEED
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.loading import LoadedModel

CONTEXT = 16_384

_COMMON: dict[str, Any] = {
    "vocab_size": 128_256,
    "num_key_value_heads": 8,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    # Without an end-of-sequence token every answer has the requested length.
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}

SHAPES: dict[str, Callable[[], PretrainedConfig]] = {
    "1B": lambda: LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, head_dim=64,
        tie_word_embeddings=True, **_COMMON
    ),
    "8B": lambda: LlamaConfig(
        hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32, num_attention_heads=32, head_dim=128,
        tie_word_embeddings=False, **_COMMON
    ),
    "8x1B": lambda: MixtralConfig(
        hidden_size=2048, intermediate_size=7168, num_hidden_layers=24, num_attention_heads=16,
        num_local_experts=8, num_experts_per_tok=2, tie_word_embeddings=False, **_COMMON
    ),
    "128x110M": lambda: Qwen3MoeConfig(
        hidden_size=2048, moe_intermediate_size=768, num_hidden_layers=24, num_attention_heads=32,
        num_experts=128, num_experts_per_tok=8, norm_topk_prob=True, tie_word_embeddings=False,
        **dict[str, Any](_COMMON, head_dim=128)
    ),
}  # fmt: skip
"""Llama 3.2 1B and 3.1 8B; Mixtral at a sixth of its size; Qwen3 30B-A3B with half of its layers."""
DEFAULT = ("1B", "8B")


def make(name: str, device: torch.device) -> LoadedModel:
    """Returns a model in bfloat16, as the engine loads it, but without a tokenizer."""
    torch.manual_seed(SEED)
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(SHAPES[name](), dtype=torch.bfloat16)
    unread: Any = None
    return LoadedModel(
        model=model.eval(),
        tokenizer=unread,
        defaults=ModelDefaults(),
        device=device,
        revision="random",
        context_tokens=CONTEXT,
        vocabulary_size=_COMMON["vocab_size"],
        parameter_count=model.num_parameters(),
    )
