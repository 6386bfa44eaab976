"""Tiny random checkpoints of speech-to-text encoder-decoders with windows of any length (unlike Whisper's)."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import (
    AutoModelForSpeechSeq2Seq,
    CohereAsrFeatureExtractor,
    CohereAsrProcessor,
    ParakeetFeatureExtractor,
    PreTrainedTokenizerFast,
    SeamlessM4TFeatureExtractor,
    Speech2TextFeatureExtractor,
    SpeechT5FeatureExtractor,
    Wav2Vec2FeatureExtractor,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.made_once import written_once
from tests.tiny.audio_models import PIECES

_PAD, _BEGIN, _END = 0, 1, 2
_TOKENS: dict[str, Any] = {"pad_token_id": _PAD, "bos_token_id": _BEGIN, "eos_token_id": _END}

Maker = Callable[[int], tuple[Any, dict[str, Any]]]
"""Takes the vocabulary size; returns the feature extractor and the configuration."""


def _moonshine(count: int) -> tuple[Any, dict[str, Any]]:
    config = {
        "vocab_size": count, "hidden_size": 36, "intermediate_size": 48, "encoder_num_hidden_layers": 2,
        "decoder_num_hidden_layers": 2, "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4,
        "encoder_num_key_value_heads": 4, "decoder_num_key_value_heads": 4, "pad_head_dim_to_multiple_of": 8,
        "max_position_embeddings": 64, "decoder_start_token_id": _BEGIN, "tie_word_embeddings": False,
    }  # fmt: skip
    return Wav2Vec2FeatureExtractor(return_attention_mask=True), config


def _moonshine_streaming(count: int) -> tuple[Any, dict[str, Any]]:
    encoder = {
        "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "sliding_windows": [[4, 3], [6, 0]], "head_dim": 6,
    }  # fmt: skip
    config = {
        "vocab_size": count, "encoder_config": encoder, "hidden_size": 36, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "pad_head_dim_to_multiple_of": 8,
        "max_position_embeddings": 2048, "decoder_start_token_id": _BEGIN, "tie_word_embeddings": False,
    }  # fmt: skip
    return Wav2Vec2FeatureExtractor(return_attention_mask=True), config


_PARAKEET: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_mel_bins": 16,
    "subsampling_factor": 4, "subsampling_conv_channels": 8, "conv_kernel_size": 5, "max_position_embeddings": 900,
    "dropout": 0.0, "layerdrop": 0.0,
}  # fmt: skip


def _cohere_asr(count: int) -> tuple[Any, dict[str, Any]]:
    config = {
        "vocab_size": count, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 64, "encoder_config": _PARAKEET,
    }  # fmt: skip
    return CohereAsrFeatureExtractor(feature_size=16), config


def _canary(count: int) -> tuple[Any, dict[str, Any]]:
    decoder = {
        "vocab_size": count, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8, "max_position_embeddings": 64, **_TOKENS,
    }  # fmt: skip
    config = {
        "vocab_size": count, "encoder_config": _PARAKEET, "decoder_config": decoder, "tie_word_embeddings": False,
    }  # fmt: skip
    return ParakeetFeatureExtractor(feature_size=16), config


def _speech_to_text(count: int) -> tuple[Any, dict[str, Any]]:
    config = {
        "vocab_size": count, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "conv_channels": 16,
        "input_feat_per_channel": 16, "max_target_positions": 64, "decoder_start_token_id": _END,
        "tie_word_embeddings": False,
    }  # fmt: skip
    return Speech2TextFeatureExtractor(feature_size=16, num_mel_bins=16), config


def _seamless(count: int) -> tuple[Any, dict[str, Any]]:
    config = {
        "vocab_size": count, "hidden_size": 32, "max_position_embeddings": 64, "decoder_layers": 2,
        "decoder_ffn_dim": 48, "decoder_attention_heads": 4, "speech_encoder_layers": 2,
        "speech_encoder_attention_heads": 4, "speech_encoder_intermediate_size": 48, "encoder_attention_heads": 4,
        "conv_depthwise_kernel_size": 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
        "decoder_start_token_id": _END, "tie_word_embeddings": False,
    }  # fmt: skip
    return SeamlessM4TFeatureExtractor(), config


def _speecht5(count: int) -> tuple[Any, dict[str, Any]]:
    config = {
        "vocab_size": count, "hidden_size": 32, "encoder_layers": 2, "encoder_attention_heads": 4,
        "encoder_ffn_dim": 48, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 48,
        "conv_dim": [16, 16, 16], "conv_kernel": [10, 4, 4], "conv_stride": [5, 8, 8], "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "max_text_positions": 64,
        "decoder_start_token_id": _END, "tie_word_embeddings": False,
    }  # fmt: skip
    return SpeechT5FeatureExtractor(), config


_MAKERS: dict[str, Maker] = {
    "moonshine": _moonshine,
    "moonshine_streaming": _moonshine_streaming,
    "cohere_asr": _cohere_asr,
    "canary": _canary,
    "speech_to_text": _speech_to_text,
    "speecht5": _speecht5,
    "seamless_m4t": _seamless,
    "seamless_m4t_v2": _seamless,
}


def scribe_tokenizer(special: tuple[str, ...] = ()) -> Any:
    """Returns a tokenizer of word pieces, with a model's special tokens at the end."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *PIECES]
    backend = Tokenizer(Unigram([(token, -float(i)) for i, token in enumerate(tokens)], unk_id=3))
    backend.decoder = decoders.Metaspace()
    named = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend, **named)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


_PROMPT = (
    "<|startofcontext|>", "<|startoftranscript|>", "<|emo:undefined|>", "<|en|>", "<|de|>", "<|pnc|>", "<|noitn|>",
    "<|notimestamp|>", "<|nodiarize|>",
)  # fmt: skip
"""Tokens of which Canary's and Cohere's prompts consist."""
_TEMPLATE = (
    "{% set told = messages[0].content[1] %}<|startofcontext|><|startoftranscript|><|emo:undefined|>"
    "<|{{ told.source_language }}|><|{{ told.target_language }}|><|pnc|><|noitn|><|notimestamp|><|nodiarize|>"
)
_LANGUAGES = {"eng": "__eng__", "deu": "__deu__"}


@written_once
def write_scribe(folder: Path, kind: str) -> Path:
    """Writes a random model that writes what it hears, its extractor and its tokenizer."""
    tokenizer = scribe_tokenizer((*_LANGUAGES.values(), *_PROMPT))
    ids = tokenizer.get_vocab()
    extractor, sizes = _MAKERS[kind](len(tokenizer))
    make: Any = CONFIG_MAPPING[kind]
    seeds = {"speecht5": 11, "seamless_m4t": 7, "seamless_m4t_v2": 7}
    torch.manual_seed(seeds.get(kind, 4))  # with which it writes other things of other sounds
    model: Any = AutoModelForSpeechSeq2Seq.from_config(make(**_TOKENS, **sizes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * (0.4 if "attn" in name else 0.2))
    brief = kind in {"moonshine_streaming", "speech_to_text", "seamless_m4t", "seamless_m4t_v2"}
    model.generation_config.max_length, model.generation_config.max_new_tokens = 14 if brief else 24, None
    model.generation_config._from_model_config = False
    if kind in {"canary", "cohere_asr"}:
        model.generation_config.decoder_start_token_id = ids[_PROMPT[0]]
    if kind.startswith("seamless"):
        model.generation_config.text_decoder_lang_to_code_id = {code: ids[token] for code, token in _LANGUAGES.items()}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    if kind == "cohere_asr":
        CohereAsrProcessor(extractor, tokenizer).save_pretrained(folder)
    if kind == "canary":
        # transformers 5.17 has none.
        make_processor: Any = importlib.import_module("transformers").CanaryProcessor
        make_processor(extractor, tokenizer, chat_template=_TEMPLATE).save_pretrained(folder)
    return folder
