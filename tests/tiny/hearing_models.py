"""Tiny random checkpoints of models that read a recording inside a text prompt, with their processors."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import transformers
from packaging.version import Version
from transformers import GenerationConfig, PretrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from services.engine.audio.extractors import show_feature_extractors
from tests.made_once import written_once
from tests.tiny import multimodal_models as tiny
from tests.tiny.language_models import END_ID
from tests.tiny.media_readers import RATE

MELS = 16
_NAMED = {
    "granite_speech": {"audio_token": "<|audio|>"},
    "qwen3_asr": {
        "audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"
    },
    "fun_asr_nano": {"audio_token": "<|object_ref_start|>"},
    "audioflamingo3": {"audio_token": "<sound>"},
    "musicflamingo": {"audio_token": "<sound>", "audio_bos_token": "<|sound_bos|>", "audio_eos_token": "<|sound_eos|>"},
    "moss_transcribe_diarize": {
        "audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"
    },
    "omniasr": {"audio_token": "<extra_id_1>"},
    "glmasr": {"audio_token": "<|pad|>"},
    "vibevoice_asr": {
        "audio_token": "<|box_start|>", "audio_bos_token": "<|object_ref_start|>",
        "audio_eos_token": "<|object_ref_end|>",
    },
}  # fmt: skip
_NAMED["granite_speech_plus"] = _NAMED["granite_speech"]
_TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": tiny.CONTEXT, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": END_ID, "tie_word_embeddings": False,
}  # fmt: skip
_WHISPER = {
    "num_mel_bins": MELS, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "hidden_size": 32,
    "max_source_positions": 50,
}  # fmt: skip


_MORE = {
    "qwen3_asr": ["language English", "<asr_text>"],
    "omniasr": ["<|lang:eng_latn|>", "<|lang:kor_hang|>", "<|lang:auto|>"],
}
"""More tokens of these models, which are ordinary text."""
_FIRST = Version("5.17")
_SINCE = {"vibevoice_asr": Version("5.24")}
"""First versions of transformers whose `generate` can run without random noise."""
_WRITTEN = (
    "{% if p.type == 'audio' %}MEDIUM{% elif p.type == 'keywords' %}Words: {{ p.keywords | join(', ') }}. "
    "{% elif p.type == 'language' %}In {{ p.language }}: {% else %}"
)
"""The part of the template for parts that are not text."""


def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Returns the language models' tokenizer, with the audio placeholders of model `name`."""
    named = _NAMED[name]
    found = tiny.extended(list(named.values()), named)
    found.add_tokens(_MORE.get(name, []))
    return found


def _config(name: str, text: dict[str, Any], **parts: Any) -> PretrainedConfig:
    ids = {"audio_token_id": tokenizer(name).convert_tokens_to_ids(_NAMED[name]["audio_token"])}
    text = _TEXT | {"vocab_size": len(tokenizer(name))} | text
    return CONFIG_MAPPING[name](text_config=text, tie_word_embeddings=False, **(ids | parts))


def _granite(name: str, **encoder: Any) -> PretrainedConfig:
    return _config(
        name, {"model_type": "granite"}, has_lora_adapter=False,
        encoder_config={
            "input_dim": 160, "num_layers": 2, "hidden_dim": 32, "num_heads": 4, "output_dim": 12,
            "context_size": 20, "max_pos_emb": 32, "feedforward_mult": 2, "conv_kernel_size": 7,
        } | encoder,
        projector_config={
            "model_type": "blip_2_qformer", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 4, "encoder_hidden_size": 32 * (1 + len(encoder.get("cat_hidden_layers", ()))),
        },
    )  # fmt: skip


CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "granite_speech": lambda: _granite("granite_speech"),
    "granite_speech_plus": lambda: _granite("granite_speech_plus", cat_hidden_layers=[0]),
    "qwen3_asr": lambda: _config(
        "qwen3_asr", {"model_type": "qwen3", "head_dim": 8},
        audio_config={
            "model_type": "qwen3_asr_encoder", "num_mel_bins": MELS, "encoder_layers": 2, "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64, "d_model": 32, "output_dim": 32, "downsample_hidden_size": 8,
        },
    ),
    "fun_asr_nano": lambda: _config(
        "fun_asr_nano", {"model_type": "qwen3", "head_dim": 8},
        audio_config={
            "model_type": "fun_asr_nano_encoder", "num_mel_bins": MELS, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 3, "num_timestamp_prediction_layers": 1,
        },
        adaptor_config={
            "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 8, "num_hidden_layers": 1,
            "projector_hidden_size": 48,
        },
    ),
    "audioflamingo3": lambda: _config(
        "audioflamingo3", {"model_type": "qwen2"}, audio_config={"model_type": "audioflamingo3_encoder"} | _WHISPER
    ),
    "musicflamingo": lambda: _config(
        "musicflamingo", {"model_type": "qwen2"}, audio_config={"model_type": "audioflamingo3_encoder"} | _WHISPER,
        audio_bos_token_id=tokenizer("musicflamingo").convert_tokens_to_ids("<|sound_bos|>"),
        audio_eos_token_id=tokenizer("musicflamingo").convert_tokens_to_ids("<|sound_eos|>"),
    ),
    "glmasr": lambda: _config(
        "glmasr", {"model_type": "llama"},
        audio_config={
            "model_type": "glmasr_encoder", "num_mel_bins": MELS, "hidden_size": 32, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8, "max_position_embeddings": 64,
        },
    ),
    "moss_transcribe_diarize": lambda: _config(
        "moss_transcribe_diarize", {"model_type": "qwen3", "head_dim": 8}, audio_chunk_size=2 * RATE,
        audio_config=_WHISPER | {"max_source_positions": 100},
    ),
    "omniasr": lambda: _config(
        "omniasr", {"model_type": "llama"},
        audio_config={
            "model_type": "omniasr_audio", "hidden_size": 32, "conv_dim": [8] * 7, "num_attention_heads": 4,
            "num_hidden_layers": 2, "intermediate_size": 64, "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4, "layerdrop": 0.0,
        },
    ),
    "vibevoice_asr": lambda: _config(
        "vibevoice_asr", {"model_type": "qwen2"}, acoustic_tokenizer_encoder_config=_vibevoice(12),
        semantic_tokenizer_encoder_config=_vibevoice(20), acoustic_tokenizer_chunk_size=2 * RATE,
    ),
}  # fmt: skip


def _vibevoice(width: int) -> dict[str, Any]:
    return {
        "model_type": "vibevoice_acoustic_tokenizer_encoder", "hidden_size": width, "num_filters": 4,
        "downsampling_ratios": [8, 20, 20], "depths": [1, 1, 1, 1], "layer_scale_init_value": 0.5,
    }  # fmt: skip


_LISTENERS: dict[str, tuple[str, dict[str, Any]]] = {
    "granite_speech": ("GraniteSpeechFeatureExtractor", {}),  # always 80 bands: it does not save another number
    "granite_speech_plus": ("GraniteSpeechFeatureExtractor", {}),
    "qwen3_asr": ("Qwen3ASRFeatureExtractor", {"feature_size": MELS}),
    "fun_asr_nano": ("FunAsrNanoFeatureExtractor", {"feature_size": MELS}),
    "moss_transcribe_diarize": ("MossTranscribeDiarizeFeatureExtractor", {"feature_size": MELS, "chunk_length": 2}),
    "omniasr": ("OmniASRFeatureExtractor", {}),
    "glmasr": ("WhisperFeatureExtractor", {"feature_size": MELS, "chunk_length": 2}),
    "vibevoice_asr": ("VibeVoiceAcousticTokenizerFeatureExtractor", {"sampling_rate": RATE}),
}


def _listener(name: str) -> Any:
    show_feature_extractors()
    kind, shape = _LISTENERS.get(name, ("WhisperFeatureExtractor", {"feature_size": MELS, "chunk_length": 1}))
    # Not imported at the top: transformers replaces its own entry in `sys.modules` while it is imported.
    return getattr(importlib.import_module("transformers"), kind)(**shape)


def processor(name: str) -> Any:
    """Returns the processor of model `name`."""
    kind: Any = PROCESSOR_MAPPING[type(CONFIGS[name]())]
    return kind(_listener(name), tokenizer(name), chat_template=template(name))


def template(name: str) -> str:
    """Returns the chat template of model `name`."""
    named = _NAMED[name]
    marks = [named.get(f"audio_{edge}token", "") for edge in ("bos_", "", "eos_")]
    if name == "vibevoice_asr":
        marks.append(" It lasts <|AUDIO_DURATION|> s. ")
    written = tiny.TEMPLATE.replace("{% else %}MEDIUM", "").replace("{% if p.type == 'text' %}", _WRITTEN)
    return written.replace("MEDIUM", "".join(marks))


def require(name: str) -> None:
    """Skips the test if transformers lacks model `name`, or if its `generate` always adds noise to this model."""
    if find_spec(f"transformers.models.{name}") is None or Version(transformers.__version__) < _SINCE.get(name, _FIRST):
        pytest.skip("of a later version of transformers")


@written_once
def write_checkpoint(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Writes the random model `name` with its processor to `folder` and returns it."""
    require(name)
    model: Any = tiny.random_model(CONFIGS[name](), seed)
    if name == "musicflamingo":  # so that the audio does not outweigh the text
        model.model.multi_modal_projector.linear_2.weight.data *= 0.05
    model.generation_config = GenerationConfig(eos_token_id=END_ID, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder
