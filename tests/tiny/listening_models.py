"""Tiny random Whisper checkpoints, with all of Whisper's kinds of special tokens."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from tests.made_once import written_once

SECONDS = 4
"""Length of the model's window, in place of Whisper's 30 s."""
CONTEXT = 40
LANGUAGES = ("en", "de", "fr")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SPECIAL = (
    "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>", "<|transcribe|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip


def listening_tokenizer() -> WhisperTokenizer:
    """Returns a tokenizer of letters, word beginnings, punctuation, and the two bytes of `é` as separate tokens."""
    pieces = ["Ġ", *_LETTERS, "Ã", "©", ".", ",", "(", "'", *(f"Ġ{letter}" for letter in _LETTERS[:12])]
    merges = [("Ġ", letter) for letter in _LETTERS[:12]]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, "<|endoftext|>"])}
    tokenizer: Any = WhisperTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL)})
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(SECONDS * 50 + 1)])
    return tokenizer


@written_once
def write_listening_model(
    folder: Path, *, seed: int = 0, languages: bool = True, aligned: bool = True, **more: Any
) -> Path:
    """Writes a random Whisper. Without `languages` it is monolingual; without `aligned` it has no word timestamps."""
    tokenizer: Any = listening_tokenizer()
    text_count = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=16,
        max_source_positions=SECONDS * 50, max_target_positions=CONTEXT, pad_token_id=text_count,
        bos_token_id=text_count, eos_token_id=text_count, median_filter_width=7,
        decoder_start_token_id=text_count + 1, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    model: Any = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        # Text is made likelier than timestamps, and dependent on the position; otherwise single letters alternate
        # with timestamps.
        model.proj_out.weight[: text_count + 1] *= 1.5
        model.model.decoder.embed_positions.weight.mul_(8)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
    named: dict[str, Any] = {
        "lang_to_id": {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
        "task_to_id": {"translate": ids["<|translate|>"], "transcribe": ids["<|transcribe|>"]},
        "is_multilingual": True,
    }
    model.generation_config = GenerationConfig(
        pad_token_id=text_count, bos_token_id=text_count, eos_token_id=text_count,
        decoder_start_token_id=ids["<|startoftranscript|>"], no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"], begin_suppress_tokens=[0, text_count],
        suppress_tokens=[5, *ids.values()], max_initial_timestamp_index=25, max_length=CONTEXT,
        **(named if languages else {"is_multilingual": False}),
        **more,
        **({"alignment_heads": [[0, 1], [1, 0], [1, 3]]} if aligned else {}),
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16, chunk_length=SECONDS).save_pretrained(folder)
    return folder
