"""Models whose kernels are compiled: one or two layers with the widths of real models, on the meta device."""

from collections.abc import Callable
from typing import Any

from transformers import (
    Gemma2Config,
    Glm4MoeConfig,
    GptOssConfig,
    MixtralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

from benchmarks.gpu.shapes import SHAPES

_PLAIN: dict[str, Any] = {
    "num_hidden_layers": 1,
    "vocab_size": 1024,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def _of_shape(name: str) -> PretrainedConfig:
    config = SHAPES[name]()
    config.num_hidden_layers = 1
    return config


MODELS: dict[str, Callable[[], PretrainedConfig]] = {
    "1B": lambda: _of_shape("1B"),
    "8B": lambda: _of_shape("8B"),
    # Norms of query and key heads.
    "qwen3": lambda: Qwen3Config(
        hidden_size=2560, intermediate_size=9728, num_attention_heads=32, num_key_value_heads=8, head_dim=128, **_PLAIN
    ),
    # One layer with a plain feed-forward layer, and one with experts.
    "qwen3_moe": lambda: Qwen3MoeConfig(
        hidden_size=2048, intermediate_size=6144, num_attention_heads=32, num_key_value_heads=4,
        num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768, mlp_only_layers=[0],
        **dict[str, Any](_PLAIN, head_dim=128, num_hidden_layers=2)
    ),
    # The widest heads that kernels support, softcaps, a sliding window, norms behind attention and feed-forward.
    "gemma2": lambda: Gemma2Config(
        hidden_size=3584, intermediate_size=14_336, num_attention_heads=16, num_key_value_heads=8, head_dim=256,
        **_PLAIN
    ),
    # Attention kernels between the model's own modules: sinks, a sliding window, experts.
    "gpt_oss": lambda: GptOssConfig(
        hidden_size=2880, intermediate_size=2880, num_attention_heads=64, num_key_value_heads=8, head_dim=64,
        num_local_experts=4, **_PLAIN
    ),
    # Two experts for each token.
    "mixtral": lambda: MixtralConfig(
        hidden_size=4096, intermediate_size=14_336, num_attention_heads=32, num_key_value_heads=8, num_local_experts=8,
        **_PLAIN
    ),
    # A router with sigmoid scores and float32 weights.
    "glm4_moe": lambda: Glm4MoeConfig(
        hidden_size=4096, intermediate_size=10_944, num_attention_heads=96, num_key_value_heads=8,
        n_routed_experts=128, num_experts_per_tok=8, moe_intermediate_size=1408, first_k_dense_replace=0,
        **dict[str, Any](_PLAIN, head_dim=128)
    ),
    # Heads of 96 numbers, not a power of two, and one projection for queries, keys and values.
    "phi3": lambda: Phi3Config(
        hidden_size=3072, intermediate_size=8192, num_attention_heads=32, num_key_value_heads=32, **_PLAIN
    ),
}  # fmt: skip
