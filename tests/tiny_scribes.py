"""Tiny random checkpoints of encoder-decoders that hear windows of any length, as `save_pretrained` writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import AutoModelForSpeechSeq2Seq, PreTrainedTokenizerFast, Wav2Vec2FeatureExtractor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.tiny_audio_models import PIECES

_PAD, _BEGIN, _END = 0, 1, 2
_TOKENS: dict[str, Any] = {"pad_token_id": _PAD, "bos_token_id": _BEGIN, "eos_token_id": _END}

Maker = Callable[[int], tuple[Any, dict[str, Any]]]
"""Returns what makes the features, and the configuration for so many tokens."""


def _moonshine(count: int) -> tuple[Any, dict[str, Any]]:
    config = {
        "vocab_size": count, "hidden_size": 36, "intermediate_size": 48, "encoder_num_hidden_layers": 2,
        "decoder_num_hidden_layers": 2, "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4,
        "encoder_num_key_value_heads": 4, "decoder_num_key_value_heads": 4, "pad_head_dim_to_multiple_of": 8,
        "max_position_embeddings": 64, "decoder_start_token_id": _BEGIN, "tie_word_embeddings": False,
    }  # fmt: skip
    return Wav2Vec2FeatureExtractor(return_attention_mask=True), config


_MAKERS: dict[str, Maker] = {"moonshine": _moonshine}


def scribe_tokenizer(special: tuple[str, ...] = ()) -> Any:
    """Returns a tokenizer of pieces of words, with tokens of a model's own behind them."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *PIECES]
    backend = Tokenizer(Unigram([(token, -float(i)) for i, token in enumerate(tokens)], unk_id=3))
    backend.decoder = decoders.Metaspace()
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def write_scribe(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Writes a random model that writes what it hears, its extractor and its tokenizer."""
    tokenizer = scribe_tokenizer()
    extractor, sizes = _MAKERS[kind](len(tokenizer))
    make: Any = CONFIG_MAPPING[kind]
    torch.manual_seed(seed)
    model: Any = AutoModelForSpeechSeq2Seq.from_config(make(**_TOKENS, **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.generation_config.max_length = 24
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder
