"""Writes transcription models with random weights in the shapes of widely used ones."""

import json
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from benchmarks.random_weights import made_once

_TEXT_TOKENS = 50_257
_TIMES = 1_501
_CONTROL = (
    "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>", "<|nospeech|>",
    "<|notimestamps|>",
)  # fmt: skip
_APART = 4.0
"""How far the logits of the end of sequence and of timestamps are lowered, so that outputs have the full length."""


def frame_model(cache: Path) -> Path:
    """Returns the folder of a CTC model in the shape of wav2vec2-base, written to `cache` on first use."""
    return made_once(cache, "wav2vec2-base-shape", _make_frame_model)


def writing_model(cache: Path) -> Path:
    """Returns the folder of a Whisper in the shape of whisper-tiny, likewise. It generates up to the token limit."""
    return made_once(cache, "whisper-tiny-shape", _make_writing_model)


def _make_frame_model(folder: Path) -> None:
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *ascii_lowercase, "'"]
    letters = folder / "vocab.json"
    letters.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    Wav2Vec2CTCTokenizer(str(letters)).save_pretrained(folder)
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(tokens), pad_token_id=0)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)


def _make_writing_model(folder: Path) -> None:
    tokenizer = _tokenizer()
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _CONTROL}
    end = _TEXT_TOKENS - 1
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536, pad_token_id=end, bos_token_id=end,
        eos_token_id=end, decoder_start_token_id=ids["<|startoftranscript|>"], tie_word_embeddings=False,
    )  # fmt: skip
    model: Any = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        away = torch.nn.functional.normalize(torch.randn(config.d_model), dim=0) * _APART
        model.model.decoder.layer_norm.bias.add_(away)
        model.proj_out.weight[end:] -= away
    model.generation_config = GenerationConfig(
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=ids["<|startoftranscript|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"], prev_sot_token_id=ids["<|startofprev|>"],
        lang_to_id={"<|en|>": ids["<|en|>"]}, is_multilingual=True, max_length=448, suppress_tokens=list(ids.values()),
        task_to_id={"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]},
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)


def _tokenizer() -> Any:
    words = ("".join(letters) for length in (1, 2, 3, 4) for letters in product(ascii_lowercase, repeat=length))
    pieces = [form for word, _ in zip(words, range(_TEXT_TOKENS), strict=False) for form in (word, f"Ġ{word}")]
    vocabulary = {piece: i for i, piece in enumerate([*pieces[: _TEXT_TOKENS - 1], "<|endoftext|>"])}
    tokenizer: Any = WhisperTokenizer(vocab=vocabulary, merges=[])
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.add_special_tokens({"additional_special_tokens": list(_CONTROL)})
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(_TIMES)])
    return tokenizer
