"""Tiny random checkpoints of TTS models that generate codes of an audio codec, as `save_pretrained` writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BarkConfig,
    BarkModel,
    BarkProcessor,
    CsmConfig,
    CsmForConditionalGeneration,
    CsmProcessor,
    DacConfig,
    DacFeatureExtractor,
    DacModel,
    DiaConfig,
    DiaFeatureExtractor,
    DiaForConditionalGeneration,
    DiaProcessor,
    DiaTokenizer,
    EncodecFeatureExtractor,
    GenerationConfig,
    HiggsAudioV2Config,
    HiggsAudioV2ForConditionalGeneration,
    HiggsAudioV2Processor,
    HiggsAudioV2TokenizerConfig,
)

from services.engine.speech_synthesis.higgs_codec import codec_class
from tests.made_once import written_once
from tests.tiny.language_models import tokenizer
from tests.tiny.speakers import encodec, fill_codebooks, stir

CSM_LENGTHS: dict[str, Any] = {
    "sampling_rate": 8000,
    "encoded_length_kwargs": {
        "kernel_sizes": [7, 3, 1, 4, 3, 1, 8, 3, 4],
        "strides": [1, 1, 1, 2, 1, 1, 4, 1, 2],
        "dilations": [1] * 9,
        "use_causal_conv": True,
    },
}
"""Arguments that the processor of the tiny CSM needs to count the frames of a recording."""


@written_once
def write_csm(folder: Path, *, new_tokens: int = 48, seed: int = 0) -> Path:
    """Writes a CSM with its processor. It speaks up to `new_tokens` frames of 16 samples."""
    letters = tokenizer()
    letters.add_special_tokens({"additional_special_tokens": ["<|AUDIO|>", "<|audio_eos|>"]})
    audio, audio_eos = letters.convert_tokens_to_ids(["<|AUDIO|>", "<|audio_eos|>"])
    depth: dict[str, Any] = {
        "num_codebooks": 4, "backbone_hidden_size": 32, "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 5,
    }  # fmt: skip
    codec: dict[str, Any] = {
        "model_type": "mimi", "sampling_rate": 8000, "hidden_size": 16, "num_filters": 4, "upsampling_ratios": [4, 2],
        "codebook_size": 32, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8, "num_quantizers": 4,
        "upsample_groups": 16, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2,
        "num_key_value_heads": 2, "sliding_window": 10,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = CsmConfig(
        num_codebooks=4, vocab_size=32, text_vocab_size=len(letters), hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, codebook_pad_token_id=31,
        codebook_eos_token_id=0, bos_token_id=1, pad_token_id=0, audio_token_id=audio, audio_eos_token_id=audio_eos,
        depth_decoder_config=depth, codec_config=codec,
    )  # fmt: skip
    model = CsmForConditionalGeneration(config)
    stir(model)
    fill_codebooks(model.codec_model)
    with torch.no_grad():
        decoder: Any = model.codec_model.decoder
        getattr(decoder, "decoder_seanet", decoder).layers[-1].conv.weight.mul_(0.03)
    model.generation_config = GenerationConfig(do_sample=True, max_new_tokens=new_tokens)
    model.depth_decoder.generation_config = GenerationConfig(do_sample=True, min_new_tokens=3, max_new_tokens=3)
    model.save_pretrained(folder)
    CsmProcessor(EncodecFeatureExtractor(sampling_rate=8000), letters).save_pretrained(folder)
    return folder


@written_once
def write_bark(folder: Path, *, new_tokens: int = 40, seed: int = 0) -> Path:
    """Writes a Bark with the voice v2/anna. It speaks up to 3/2 * `new_tokens` frames of 8 samples."""
    part: dict[str, Any] = {"block_size": 256, "num_layers": 1, "num_heads": 2, "hidden_size": 16}
    torch.manual_seed(seed)
    model = BarkModel(
        BarkConfig(
            semantic_config=part | {"input_vocab_size": 402, "output_vocab_size": 48},
            coarse_acoustics_config=part | {"input_vocab_size": 120, "output_vocab_size": 120},
            fine_acoustics_config=part | {"input_vocab_size": 33, "output_vocab_size": 33, "n_codes_total": 4},
            codec_config=encodec().to_dict(),
        )
    )
    stir(model)
    fill_codebooks(model.codec_model)
    model.save_pretrained(folder)
    own: dict[str, Any] = {
        "semantic_config": {
            "eos_token_id": 40, "max_new_tokens": new_tokens, "do_sample": True, "text_encoding_offset": 48,
            "text_pad_token": 400, "semantic_infer_token": 401, "semantic_vocab_size": 40, "semantic_rate_hz": 50,
            "max_input_semantic_length": 32,
        },
        "coarse_acoustics_config": {
            "do_sample": True, "coarse_semantic_pad_token": 110, "coarse_infer_token": 111, "sliding_window_len": 20,
            "max_coarse_input_length": 32, "max_coarse_history": 60,
        },
        "fine_acoustics_config": {
            "temperature": 0.5, "max_fine_history_length": 16, "max_fine_input_length": 32, "n_fine_codebooks": 4,
        },
        "sample_rate": 8000,
        "codebook_size": 32,
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(own))
    anna = {f"{part}_prompt": f"anna_{part}.npy" for part in ("semantic", "coarse", "fine")}
    for (name, file), rows in zip(anna.items(), ((), (2,), (4,)), strict=True):
        frames = 20 if name == "semantic_prompt" else 30
        np.save(folder / file, np.random.default_rng(0).integers(32, size=(*rows, frames)))
    BarkProcessor(tokenizer()).save_pretrained(folder)
    (folder / "speaker_embeddings_path.json").write_text(json.dumps({"repo_or_path": "x/y", "v2/anna": anna}))
    return folder


@written_once
def write_dia(folder: Path, *, length: int = 400, loudness: float = 1.0, seed: int = 7) -> Path:
    """Writes a Dia with its processor, and its codec in `codec`. It speaks up to `length` / 2 frames of 8 samples.

    `loudness` scales the weights of the end token's logits.
    """
    encoder: dict[str, Any] = {
        "vocab_size": 256, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 200,
    }  # fmt: skip
    decoder: dict[str, Any] = encoder | {
        "vocab_size": 36, "num_channels": 3, "cross_num_attention_heads": 2, "cross_head_dim": 8,
        "cross_num_key_value_heads": 2, "cross_hidden_size": 16, "max_position_embeddings": 400,
        "eos_token_id": 32, "pad_token_id": 33, "bos_token_id": 34,
    }  # fmt: skip
    torch.manual_seed(seed)
    codec = DacModel(
        DacConfig(encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 4], n_codebooks=3,
                  codebook_size=32, codebook_dim=4, sampling_rate=800)
    )  # fmt: skip
    stir(codec)
    codec.save_pretrained(folder / "codec")
    model = DiaForConditionalGeneration(
        DiaConfig(encoder_config=encoder, decoder_config=decoder, delay_pattern=[0, 2, 3])
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):  # sorted: the order varies with transformers' version
            weight.copy_(torch.randn(weight.shape) * 0.1 + (weight.dim() == 1))
        model.logits_dense.weight[32].mul_(loudness)  # the end token
    own = {"eos_token_id": 32, "pad_token_id": 33, "bos_token_id": 34, "decoder_start_token_id": 34}
    model.generation_config = GenerationConfig(do_sample=True, guidance_scale=3.0, top_k=20, max_length=length, **own)
    model.save_pretrained(folder)
    DiaProcessor(
        DiaFeatureExtractor(sampling_rate=800, hop_length=8), DiaTokenizer(), DacModel.from_pretrained(folder / "codec")
    ).save_pretrained(folder)
    return folder


HIGGS_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'audio' %}"
    "<|audio_out_bos|><|AUDIO_OUT|><|audio_eos|>{% else %}{{ p.text | trim }}{% endif %}{% endfor %}<end>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><|audio_out_bos|>{% endif %}"
)


def _higgs_codec() -> Any:
    codec = codec_class()(
        HiggsAudioV2TokenizerConfig(
            sample_rate=400, target_bandwidths=[0.6], codebook_size=32, codebook_dim=4,
            acoustic_model_config={
                "model_type": "dac", "encoder_hidden_size": 4, "decoder_hidden_size": 16, "hidden_size": 8,
                "downsampling_ratios": [5, 2], "upsampling_ratios": [5, 2],
            },
            semantic_model_config={
                "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 16, "conv_dim": [8, 8], "conv_kernel": [4, 4], "conv_stride": [2, 2],
                "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
            },
        )
    )  # fmt: skip
    stir(codec)
    fill_codebooks(codec)
    return codec


@written_once
def write_higgs(folder: Path, *, new_tokens: int = 300, loudness: float = 0.0, seed: int = 0) -> Path:
    """Writes a Higgs Audio with its processor and codec. It generates up to `new_tokens` frames of 10 samples.

    `loudness` scales the weights of the end token's logits.
    """
    letters = tokenizer()
    marks = ["<|AUDIO_OUT|>", "<|audio_out_bos|>", "<|audio_eos|>", "<|reserved_special_token_6|>"]
    letters.add_special_tokens({"additional_special_tokens": marks})
    audio, begin, _, late = letters.convert_tokens_to_ids(marks)
    torch.manual_seed(seed)
    _higgs_codec().save_pretrained(folder / "codec")
    model = HiggsAudioV2ForConditionalGeneration(
        HiggsAudioV2Config(
            vocab_size=len(letters), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=1100, num_codebooks=3, codebook_size=34,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, audio_token_id=audio, audio_bos_token_id=begin,
            audio_delay_token_id=late, audio_stream_bos_id=32, audio_stream_eos_id=33,
        )
    )  # fmt: skip
    stir(model)
    with torch.no_grad():
        model.audio_lm_head.weight[33::34].mul_(loudness)  # the end token
    repeats: dict[str, Any] = {"ras_win_len": 7, "ras_win_max_num_repeat": 2}
    model.generation_config = GenerationConfig(
        do_sample=True, top_k=10, max_new_tokens=new_tokens, eos_token_id=2, pad_token_id=0, **repeats
    )
    model.save_pretrained(folder)
    HiggsAudioV2Processor(
        DacFeatureExtractor(sampling_rate=400, hop_length=1), letters, codec_class().from_pretrained(folder / "codec"),
        chat_template=HIGGS_TEMPLATE, audio_stream_bos_id=32, audio_stream_eos_id=33,
    ).save_pretrained(folder)  # fmt: skip
    return folder
