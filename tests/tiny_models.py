"""Tiny random checkpoints of real architectures, written to a folder as `save_pretrained` writes them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

CONTEXT = 256
END_ID = 2
_TEXT = ["Streams of tokens arrive one by one.", "Tänze im Grünen, 東京 and 🌊 too.", "0123456789"] * 4
_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every text can be written, with a chat template."""
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


CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_shape()),
    # bitsandbytes quantizes in blocks of 64 weights.
    "wide_llama": lambda: LlamaConfig(**_shape(hidden_size=128, intermediate_size=256, num_hidden_layers=2)),
    "qwen3": lambda: Qwen3Config(**_shape(head_dim=8)),
    # Seven layers, so that five slide, one sees everything and one slides again.
    "gemma3": lambda: Gemma3TextConfig(**_shape(head_dim=8, sliding_window=16, num_hidden_layers=7)),
    "gemma2": lambda: Gemma2Config(**_shape(head_dim=8, sliding_window=16)),
    "mistral": lambda: MistralConfig(**_shape(head_dim=8, sliding_window=8)),
    "mixtral": lambda: MixtralConfig(**_shape(num_local_experts=4)),
    "gpt_oss": lambda: GptOssConfig(
        **_shape(
            head_dim=8,
            num_local_experts=4,
            sliding_window=16,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=len(tokenizer()),
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=CONTEXT,
        bos_token_id=1,
        eos_token_id=END_ID,
    ),
}
"""Architectures by name: rotary and learned positions, sliding windows, softcap, sinks, experts."""


def write_checkpoint(folder: Path, name: str, *, seed: int = 0, context: int = CONTEXT, **generation: object) -> Path:
    """Writes the random model `name` with its tokenizer to `folder` and returns it.

    `context` is its longest sequence; `generation` goes into its generation configuration.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = CONFIGS[name]()
        config.max_position_embeddings = context
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        # Wider than the usual 0.02, so that the likeliest token is one by a margin.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1, **generation)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def greedy(folder: Path, prompt: list[int], max_new_tokens: int) -> list[int]:
    """Returns what transformers' own `generate` continues `prompt` with, in float32 on the CPU."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False)
    return output[0, len(prompt) :].tolist()
