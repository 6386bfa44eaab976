"""Tiny random checkpoints of streaming speech-to-text models, as `save_pretrained` writes them."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    KyutaiSpeechToTextConfig,
    KyutaiSpeechToTextFeatureExtractor,
    KyutaiSpeechToTextForConditionalGeneration,
    MimiConfig,
    VoxtralRealtimeConfig,
    VoxtralRealtimeFeatureExtractor,
    VoxtralRealtimeForConditionalGeneration,
)

from tests.made_once import written_once
from tests.tiny.scribes import scribe_tokenizer
from tests.tiny.vision_models import stir
from tests.tiny.voxtral import MELS, PIECES, SPECIAL, write_tekken

_PAD, _BEGIN = 0, 1
LEFT, DELAY = 5, 2
"""Tokens of silence before Voxtral's audio, and tokens by which its text lags behind the audio."""


@written_once
def write_kyutai(folder: Path, audio_window_size: int | None = None) -> Path:
    """Writes a random Kyutai STT, with half the sample rate of the published models."""
    tokenizer = scribe_tokenizer()
    make_codec: Any = MimiConfig
    codec = make_codec(
        sampling_rate=8_000, frame_rate=12.5, num_filters=4, hidden_size=16, upsampling_ratios=[4, 4, 4, 5],
        codebook_size=32, codebook_dim=8, vector_quantization_hidden_dimension=8, num_quantizers=4,
        num_semantic_quantizers=1, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        intermediate_size=32, sliding_window=12, upsample_groups=16, max_position_embeddings=512,
    )  # fmt: skip
    config = KyutaiSpeechToTextConfig(
        codec_config=codec, vocab_size=len(tokenizer), codebook_vocab_size=33, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, ffn_dim=64, num_codebooks=4, audio_bos_token_id=32, sliding_window=10,
        audio_pad_token_id=len(tokenizer) + 4 * 33, bos_token_id=_BEGIN, pad_token_id=_PAD,
    )  # fmt: skip
    torch.manual_seed(3)
    model: Any = KyutaiSpeechToTextForConditionalGeneration(config).eval()
    stir(model)
    with torch.no_grad():
        model.model.embed_tokens.embed_tokens.weight *= 4
        for name, buffer in model.codec_model.named_buffers():
            if name.endswith("embed_sum"):
                buffer.normal_()  # with default codebooks, all audio has the same codes
    if audio_window_size is not None:
        model.generation_config.audio_window_size = audio_window_size
        model.generation_config._from_model_config = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    KyutaiSpeechToTextFeatureExtractor(
        sampling_rate=8_000, audio_delay_seconds=0.5, audio_silence_prefix_seconds=0.25
    ).save_pretrained(folder)
    return folder


@written_once
def write_voxtral(folder: Path) -> Path:
    """Writes a random Voxtral Realtime."""
    write_tekken(folder, transcription_delay_ms=DELAY * 80, streaming_n_left_pad_tokens=LEFT)
    layers: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "head_dim": 8}
    config = VoxtralRealtimeConfig(
        audio_config=layers | {"num_mel_bins": MELS, "intermediate_size": 64, "sliding_window": 22},
        text_config=layers
        | {
            "model_type": "voxtral_realtime_text", "vocab_size": len(SPECIAL) + len(PIECES), "intermediate_size": 64,
            "num_key_value_heads": 2, "sliding_window": 9,
        },
    )  # fmt: skip
    torch.manual_seed(3)
    model: Any = VoxtralRealtimeForConditionalGeneration(config).eval()
    stir(model)
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.weight *= 8  # with default weights, audio hardly affects the output
        for name, parameter in model.named_parameters():
            if "attn" in name or "mlp" in name:
                parameter *= 2
    model.save_pretrained(folder)
    VoxtralRealtimeFeatureExtractor(feature_size=MELS).save_pretrained(folder)
    return folder
