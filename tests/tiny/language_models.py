"""Tiny random checkpoints of language models of real architectures, as `save_pretrained` writes them."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BloomConfig,
    DeepseekV3Config,
    FSMTConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    GptOssConfig,
    JetMoeConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    M2M100Config,
    MambaConfig,
    MarianConfig,
    MiniMaxM3VLTextConfig,
    Ministral3Config,
    MistralConfig,
    MixtralConfig,
    MoshiConfig,
    Phi3Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProphetNetConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    T5Config,
)

from tests.made_once import made_once, written_once
from tests.own_models import own

CONTEXT = 256
END_ID = 2
_TEXT = ["Streams of tokens arrive one by one.", "Tänze im Grünen, 東京 and 🌊 too.", "0123456789"] * 4
_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@made_once
def tokenizer() -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer that encodes any text, with a chat template."""
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    special = ["<pad>", "<start>", "<end>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    fast.train_from_iterator(_TEXT, trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="<pad>", bos_token="<start>", eos_token="<end>")
    whole.chat_template = _TEMPLATE
    return whole


def _shape(**changes: object) -> dict[str, object]:
    shape: dict[str, object] = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": END_ID,
    }
    return shape | changes


_IDS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END_ID}
_UNTIED: dict[str, Any] = {"tie_word_embeddings": False, **_IDS}


def _encoder_decoder(**changes: object) -> dict[str, object]:
    shape: dict[str, object] = {
        "vocab_size": len(tokenizer()),
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": CONTEXT,
        "forced_eos_token_id": None,
        "decoder_start_token_id": END_ID,
    }
    return shape | _UNTIED | changes


CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_shape()),
    # bitsandbytes quantizes in blocks of 64 weights.
    "wide_llama": lambda: LlamaConfig(**_shape(hidden_size=128, intermediate_size=256, num_hidden_layers=2)),
    "qwen3": lambda: Qwen3Config(**_shape(head_dim=8)),
    # Seven layers: five with a sliding window, one with full attention and one with a window again.
    "gemma3": lambda: Gemma3TextConfig(**_shape(head_dim=8, sliding_window=16, num_hidden_layers=7)),
    "gemma2": lambda: Gemma2Config(**_shape(head_dim=8, sliding_window=16)),
    "mistral": lambda: MistralConfig(**_shape(head_dim=8, sliding_window=8)),
    "mixtral": lambda: MixtralConfig(**_shape(num_local_experts=4)),
    "gpt_oss": lambda: GptOssConfig(
        **_shape(
            head_dim=8, num_local_experts=4, sliding_window=16,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=len(tokenizer()), n_embd=32, n_layer=3, n_head=4, n_positions=CONTEXT, bos_token_id=1,
        eos_token_id=END_ID,
    ),
}  # fmt: skip
"""Architectures by name: rotary and learned positions, sliding windows, softcap, sinks, experts."""

MIXTURES: dict[str, Callable[[], PretrainedConfig]] = {
    # More experts than a small batch uses.
    "qwen3_moe": lambda: Qwen3MoeConfig(
        **_shape(
            head_dim=8, num_hidden_layers=2, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32,
            decoder_sparse_step=1, mlp_only_layers=[],
        )
    ),
    # Chooses groups of experts, then experts within them; a shared expert sees all rows.
    "deepseek_v3": lambda: DeepseekV3Config(
        **_shape(
            num_hidden_layers=2, num_key_value_heads=4, n_routed_experts=8, num_experts_per_tok=2, n_group=2,
            topk_group=1, moe_intermediate_size=32, first_k_dense_replace=0, q_lora_rank=16,
            kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
        )
    ),
}  # fmt: skip
"""Further mixture-of-experts decoders."""

STATEFUL: dict[str, Callable[[], PretrainedConfig]] = {
    # Must prefill a prompt in one step: its convolution cannot continue in the middle.
    "mamba": lambda: MambaConfig(
        vocab_size=len(tokenizer()), hidden_size=32, num_hidden_layers=3, state_size=8, **_UNTIED
    ),
    "bloom": lambda: BloomConfig(
        vocab_size=len(tokenizer()), hidden_size=32, n_layer=3, n_head=4, **_UNTIED
    ),
    "lfm2": lambda: Lfm2Config(
        **_shape(
            layer_types=["conv", "full_attention", "conv"],
            conv_L_cache=3,
            block_auto_adjust_ff_dim=False,
            tie_word_embeddings=False,
        )
    ),
    # Beyond 32 tokens it changes its rotary frequencies and recomputes the whole cache.
    "longrope": lambda: Phi3Config(
        **_shape(
            original_max_position_embeddings=32,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
                "original_max_position_embeddings": 32, "factor": 8.0,
            },
        )
    ),
    # Beyond 32 tokens, its module keeps the rotary frequencies of the longest sequence seen.
    "dynamic": lambda: LlamaConfig(
        **_shape(
            max_position_embeddings=32,
            rope_parameters={"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0},
        )
    ),
}  # fmt: skip
"""Decoders with other state than keys and values (recurrence, convolution), length-dependent keys, or ALiBi."""

ENCODER_DECODERS: dict[str, Callable[[], PretrainedConfig]] = {
    "bart": lambda: BartConfig(**_encoder_decoder()),
    "marian": lambda: MarianConfig(**_encoder_decoder(decoder_start_token_id=0)),
    "m2m_100": lambda: M2M100Config(**_encoder_decoder()),
    "t5": lambda: T5Config(
        vocab_size=len(tokenizer()), d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4, decoder_start_token_id=0,
        n_positions=CONTEXT, **_UNTIED
    ),
}  # fmt: skip
"""Encoder-decoders: learned, sinusoidal and relative positions, and positions that skip padding."""

SERIAL_ENCODER_DECODERS: dict[str, Callable[[], PretrainedConfig]] = {
    # Has two-stream attention that does not use transformers' attention interface.
    "prophetnet": lambda: ProphetNetConfig(
        vocab_size=len(tokenizer()), hidden_size=32, num_encoder_layers=2, num_decoder_layers=2,
        num_encoder_attention_heads=4, num_decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
        max_position_embeddings=CONTEXT, ngram=2, num_buckets=8, relative_max_distance=16, decoder_start_token_id=1,
        **_IDS
    ),
}  # fmt: skip

PECULIAR: dict[str, Callable[[], PretrainedConfig]] = {
    # Assumes that attention returns a contiguous tensor.
    "jetmoe": lambda: JetMoeConfig(
        **_shape(kv_channels=8, num_hidden_layers=2, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
    ),
    # Its cache drops tokens outside a window, but its attention mask has no window.
    "moshi": lambda: MoshiConfig(**_shape(sliding_window=16, ffn_dim=64, head_dim=8)),
    # Sparse attention over two blocks of 32 tokens: equal to full attention up to 64 tokens.
    "minimax_m3": lambda: MiniMaxM3VLTextConfig(
        **_shape(
            head_dim=8, num_hidden_layers=2, layer_types=["full_attention", "minimax_m3_sparse"],
            mlp_layer_types=["dense", "sparse"], num_local_experts=4, num_experts_per_tok=2, dense_intermediate_size=64,
            shared_intermediate_size=16, rotary_dim=4, index_head_dim=8, index_n_heads=2, index_block_size=32,
            index_topk_blocks=2,
        )
    ),
    # Scales queries by position, from 32 tokens on.
    "ministral3": lambda: Ministral3Config(
        **_shape(
            head_dim=8, num_hidden_layers=2,
            rope_parameters={
                "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 32,
                "llama_4_scaling_beta": 0.5,
            },
        )
    ),
    # Scales queries by places that its layers count themselves, from 32 tokens on.
    "llama4": lambda: Llama4TextConfig(
        **_shape(
            head_dim=8, num_hidden_layers=2, num_local_experts=2, moe_layers=[1], intermediate_size_mlp=64,
            layer_types=["full_attention"] * 2, no_rope_layers=[1, 0], floor_scale=32, attn_scale=0.5,
        )
    ),
    # Its decoder is a plain nn.Module, not a PreTrainedModel.
    "fsmt": lambda: FSMTConfig(
        langs=["en", "de"], src_vocab_size=len(tokenizer()), tgt_vocab_size=len(tokenizer()),
        **{name: value for name, value in _encoder_decoder().items() if name != "vocab_size"}
    ),
}  # fmt: skip
"""Models with one peculiarity each."""


@written_once
def write_checkpoint(folder: Path, name: str, *, seed: int = 0, context: int = CONTEXT, **generation: object) -> Path:
    """Writes the random model `name` with its tokenizer to `folder` and returns it.

    `context` is the longest sequence in tokens; `generation` are fields of the generation configuration.
    """
    known = CONFIGS | MIXTURES | STATEFUL | ENCODER_DECODERS | SERIAL_ENCODER_DECODERS | PECULIAR
    config = known[name]()
    if name not in STATEFUL:
        config.max_position_embeddings = context
    model = random_model(config, seed)
    if config.is_encoder_decoder:
        generation = {"decoder_start_token_id": config.decoder_start_token_id} | generation
    model.generation_config = GenerationConfig(**{**_IDS, **generation})
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def random_model(config: PretrainedConfig, seed: int = 0) -> PreTrainedModel:
    """Returns a model with random weights, in float32."""
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind.from_config(config, dtype=torch.float32)
        # Wider than the usual std of 0.02, so that the likeliest token wins by a margin. Encoder-decoders get still
        # wider embeddings: otherwise their output hardly depends on the last token.
        wide = {id(part.weight) for part in model.modules() if isinstance(part, torch.nn.Embedding)}
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "conv" not in name and not name.endswith("A_log"):
                embeds = config.is_encoder_decoder and id(parameter) in wide
                torch.nn.init.normal_(parameter, std=1.0 if embeds else 0.15)
    return model


def greedy(folder: Path, prompt: list[int], max_new_tokens: int) -> list[int]:
    """Returns the greedy continuation of `prompt` by transformers' own `generate`, in float32 on the CPU."""
    return [*_greedy(folder, tuple(prompt), max_new_tokens)]


@cache
def _greedy(folder: Path, prompt: tuple[int, ...], max_new_tokens: int) -> list[int]:
    model = deepcopy(own(AutoModelForCausalLM, folder))  # some models keep state between runs
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False)
    return output[0, len(prompt) :].tolist()
