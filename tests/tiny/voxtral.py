"""A tiny random Voxtral with only Mistral's tokenizer file, tekken.json, as published checkpoints have it."""

import base64
import json
from pathlib import Path

from transformers import GenerationConfig, VoxtralConfig, WhisperFeatureExtractor

from tests.made_once import written_once
from tests.tiny.multimodal_models import random_model

MELS = 16
SPECIAL = [
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]",
    "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", *(f"<SPECIAL_{i}>" for i in range(20, 24)),
    "[AUDIO]", "[BEGIN_AUDIO]", *(f"<SPECIAL_{i}>" for i in range(26, 32)), "[STREAMING_PAD]",
    "[STREAMING_WORD]", "[TRANSCRIBE]", "<SPECIAL_35>",
]  # fmt: skip
"""Special tokens by id."""
PIECES = [bytes([i]) for i in range(256)] + [b"th", b" t", b"is", b" is", b" th"]
CONTEXT = 2048


def write_tekken(folder: Path, **streaming: int) -> None:
    """Writes tekken.json: bytes, five longer pieces, special tokens, and the audio settings of streaming models."""
    vocabulary = [
        {"rank": i, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
        for i, piece in enumerate(PIECES)
    ]
    special = [{"rank": i, "token_str": token, "is_control": True} for i, token in enumerate(SPECIAL)]
    size = len(SPECIAL) + len(PIECES)
    config = {
        "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "num_vocab_tokens": len(PIECES), "default_vocab_size": size, "default_num_special_tokens": len(SPECIAL),
        "version": "v7",
    }  # fmt: skip
    audio = {
        "sampling_rate": 16_000, "frame_rate": 12.5, "chunk_length_s": 30.0,
        "audio_encoding_config": {"num_mel_bins": MELS, "hop_length": 160, "window_size": 400},
        **streaming,
    }  # fmt: skip
    told = {"config": config, "vocab": vocabulary, "special_tokens": special, "audio": audio}
    (folder / "tekken.json").write_text(json.dumps(told))


@written_once
def write_checkpoint(folder: Path) -> Path:
    """Writes the model, its tokenizer and its feature extractor to `folder` and returns it."""
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
    config = VoxtralConfig(
        audio_token_id=SPECIAL.index("[AUDIO]"),
        audio_config=layers | {"num_mel_bins": MELS, "intermediate_size": 128},
        text_config=layers
        | {
            "model_type": "llama", "vocab_size": len(SPECIAL) + len(PIECES), "intermediate_size": 64, "head_dim": 8,
            "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, "rope_theta": 10_000.0, "bos_token_id": 1,
            "eos_token_id": 2, "tie_word_embeddings": False,
        },
    )  # fmt: skip
    model = random_model(config)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=11)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=MELS).save_pretrained(folder)
    write_tekken(folder)
    return folder
