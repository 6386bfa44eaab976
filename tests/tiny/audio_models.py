"""Tiny random checkpoints of audio encoders, as `save_pretrained` writes them, with their feature extractors."""

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCTC,
    ClapConfig,
    ClapFeatureExtractor,
    HubertConfig,
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    ParakeetTokenizer,
    PretrainedConfig,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from services.engine.audio.extractors import show_feature_extractors
from tests.made_once import written_once
from tests.sounds import sound
from tests.tiny.encoders import CONTEXT, wordpiece
from tests.tiny.vision_models import stir

RATE = 16_000

_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_WAV2VEC2: dict[str, Any] = _LAYERS | {
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [10, 8, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 16,
}
"""A frame is 20 ms, as in the original, but from three convolutions instead of seven."""
_OMNIASR = {name: value for name, value in _WAV2VEC2.items() if name != "classifier_proj_size"}
_MASKED: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}

Maker = tuple[Callable[[], Any], Callable[..., PretrainedConfig]]
"""Makes the feature extractor, and makes the configuration."""


def _samples(mask: bool) -> Callable[[], Any]:
    return lambda: Wav2Vec2FeatureExtractor(return_attention_mask=mask)


def _granite_extractor() -> Any:
    show_feature_extractors()
    # Not imported at the top: transformers replaces its own entry in `sys.modules` while it is imported.
    return importlib.import_module("transformers").GraniteSpeech5FeatureExtractor()


def _omniasr(name: str, **fields: Any) -> Any:
    """Instantiates one of OmniASR's classes. Skips the test if transformers is too old (5.17) to have them."""
    pytest.importorskip("transformers.models.omniasr", reason="of transformers newer than 5.17")
    return getattr(importlib.import_module("transformers"), name)(**fields)


_MAKERS: dict[str, Maker] = {
    "wav2vec2": (_samples(False), lambda **more: Wav2Vec2Config(**_WAV2VEC2, **more)),
    "wav2vec2-masked": (_samples(True), lambda **more: Wav2Vec2Config(**_WAV2VEC2 | _MASKED, **more)),
    "wav2vec2-adapter": (
        _samples(True),
        lambda **more: Wav2Vec2Config(**_WAV2VEC2 | _MASKED, add_adapter=True, **more),
    ),
    "hubert": (_samples(True), lambda **more: HubertConfig(**_WAV2VEC2 | _MASKED, **more)),
    "wavlm": (_samples(False), lambda **more: WavLMConfig(**_WAV2VEC2, num_buckets=32, **more)),
    "parakeet": (
        lambda: ParakeetFeatureExtractor(feature_size=16),
        lambda **more: ParakeetCTCConfig(
            encoder_config={
                **_LAYERS, "num_mel_bins": 16, "subsampling_factor": 4, "subsampling_conv_channels": 8,
                "conv_kernel_size": 5, "max_position_embeddings": 400,
            },
            **more,
        ),
    ),
    "wav2vec2-bert": (
        SeamlessM4TFeatureExtractor,
        lambda **more: Wav2Vec2BertConfig(
            **_LAYERS, feature_projection_input_dim=160, conv_depthwise_kernel_size=7, classifier_proj_size=16, **more
        ),
    ),
    "wav2vec2-bert-adapter": (
        SeamlessM4TFeatureExtractor,
        lambda **more: Wav2Vec2BertConfig(
            **_LAYERS, feature_projection_input_dim=160, conv_depthwise_kernel_size=7, classifier_proj_size=16,
            add_adapter=True, **more,
        ),
    ),
    "granite-speech5": (
        _granite_extractor,
        lambda **more: CONFIG_MAPPING["granite_speech5_ctc"](
            encoder_config={
                **_LAYERS, "num_mel_bins": 80, "context_size": 16, "max_position_embeddings": 32,
                "vocab_size": more["vocab_size"],
            },
            **more,
        ),
    ),
    "omniasr": (
        partial(_omniasr, "OmniASRFeatureExtractor"),
        lambda **more: _omniasr(
            "OmniASRCTCConfig", audio_config=_OMNIASR, blank_token_id=PIECES.index("▁s") + 1, **more,
        ),
    ),
    "omniasr-encoder": (
        partial(_omniasr, "OmniASRFeatureExtractor"), partial(_omniasr, "OmniASRAudioConfig", **_OMNIASR)
    ),
    "ast": (
        lambda: ASTFeatureExtractor(max_length=128, num_mel_bins=32),
        lambda **more: ASTConfig(**_LAYERS, max_length=128, num_mel_bins=32, **more),
    ),
    "whisper": (
        lambda: WhisperFeatureExtractor(chunk_length=4),
        lambda **more: WhisperConfig(
            d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, num_mel_bins=80,
            max_source_positions=200, classifier_proj_size=16, **more,
        ),
    ),
}  # fmt: skip


CHARACTERS = "|abcdefghijklmnopqrstuvwxyz'"
PIECES = ["▁", "▁the", "▁cat", "▁s", "at", "on", "▁a", "e", "r", "▁ma", "t", "s", "o"]


def character_tokenizer(folder: Path) -> Wav2Vec2CTCTokenizer:
    """Returns wav2vec2's kind of tokenizer: characters, with a delimiter between words."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *CHARACTERS]
    file = folder / "vocab.json"
    file.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    return Wav2Vec2CTCTokenizer(str(file))


def piece_tokenizer() -> ParakeetTokenizer:
    """Returns a tokenizer of word pieces that include the space before them."""
    tokens = ["<unk>", *PIECES, "<pad>"]
    model = Unigram([(token, -float(i)) for i, token in enumerate(tokens)], unk_id=0)
    backend = Tokenizer(model)
    backend.decoder = decoders.Metaspace()
    return ParakeetTokenizer(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>")


@written_once
def write_ctc_model(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Writes a random CTC model with its feature extractor and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = piece_tokenizer() if name in {"parakeet", "omniasr"} else character_tokenizer(folder)
    tokenizer.save_pretrained(folder)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    write_audio_model(folder, name, AutoModelForCTC, seed=seed, **sizes)
    _level(folder)
    return folder


@torch.inference_mode()
def _level(folder: Path) -> None:
    """Sets the head's bias so that tokens are about equally likely: a random model would repeat one for ever."""
    model: Any = AutoModelForCTC.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    logits = model(**extractor(sound(4), sampling_rate=RATE, return_tensors="pt")).logits[0]
    head = model.ctc_head if hasattr(model, "ctc_head") else model.lm_head
    head.bias -= logits.mean(0)
    model.save_pretrained(folder)


@written_once
def write_clap_model(folder: Path, *, fusion: bool = False, seed: int = 0) -> Path:
    """Writes a random CLAP, which embeds recordings of up to 1 s and texts in one space."""
    tokenizer = wordpiece()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # CLAP's RoBERTa tokenizer has no token types
    text = _LAYERS | {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT, "pad_token_id": 0}
    audio: dict[str, Any] = {
        "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "patch_embeds_hidden_size": 8,
        "window_size": 4, "depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 16, "enable_fusion": fusion,
        "fusion_type": "aff_2d" if fusion else None,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModel.from_config(ClapConfig(text_config=text, audio_config=audio, projection_dim=24))
    stir(model)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=RATE, hop_length=160, max_length_s=1, fft_window_size=400, frequency_max=8000,
        truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)  # fmt: skip
    return folder


@written_once
def write_audio_model(folder: Path, name: str, auto_class: Any, *, seed: int = 0, **config: Any) -> Path:
    """Writes a random model of architecture `name` with the head of `auto_class`, and its feature extractor."""
    make_extractor, make_config = _MAKERS[name]
    torch.manual_seed(seed)
    model = auto_class.from_config(make_config(**config))
    stir(model)
    model.save_pretrained(folder)
    make_extractor().save_pretrained(folder)
    return folder
