"""Tiny random checkpoints of text-to-speech and music models, with their tokenizers."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import (
    EncodecConfig,
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForConditionalGeneration,
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    SpeechT5Tokenizer,
    T5Config,
    VitsConfig,
    VitsModel,
    VitsTokenizer,
)

from tests.made_once import written_once
from tests.tiny.language_models import tokenizer

LETTERS = "kabcdefghijlmnopqrstuvwxyz '"
"""The letters that VITS knows. Its blank has the id of the first letter, as in published models."""
WIDTH = 6
"""Width of SpeechT5's speaker embeddings."""
_HIFIGAN: dict[str, Any] = {
    "upsample_initial_channel": 16,
    "upsample_rates": [4, 4],
    "upsample_kernel_sizes": [8, 8],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
}


@written_once
def write_vits(folder: Path, *, seed: int = 0, language: str = "eng", **changes: Any) -> Path:
    """Writes a VITS with a sample rate of 8000 Hz and frames of 16 samples."""
    config: dict[str, Any] = {
        "vocab_size": len(LETTERS) + 1,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 32,
        "flow_size": 8,
        "spectrogram_bins": 9,
        "wavenet_dilation_rate": 1,
        "prior_encoder_num_flows": 2,
        "prior_encoder_num_wavenet_layers": 2,
        "posterior_encoder_num_wavenet_layers": 1,
        "duration_predictor_num_flows": 2,
        "depth_separable_num_layers": 2,
        "depth_separable_channels": 2,
        "speaker_embedding_size": 8 if changes.get("num_speakers", 1) > 1 else 0,
        "sampling_rate": 8000,
        **_HIFIGAN,
    }
    torch.manual_seed(seed)
    model = VitsModel(VitsConfig(**config | changes))
    stir(model)
    with torch.no_grad():
        model.decoder.conv_pre.weight.mul_(0.02)  # or its output would saturate at -1 and 1
    if model.config.use_stochastic_duration_prediction:
        with torch.no_grad():
            model.duration_predictor.flows[0].translate[0].fill_(0.5)  # a few frames per letter
    model.save_pretrained(folder)
    vocabulary = {letter: i for i, letter in enumerate([*LETTERS, "<unk>"])}
    (folder / "letters.json").write_text(json.dumps(vocabulary))
    VitsTokenizer(
        str(folder / "letters.json"), pad_token=LETTERS[0], language=language, phonemize=False, is_uroman=False
    ).save_pretrained(folder)
    return folder


@written_once
def write_speecht5(
    folder: Path, *, seed: int = 0, vocoder: str = "vocoder", stop_bias: float = -4.0, **changes: Any
) -> Path:
    """Writes a SpeechT5, and its vocoder into the subfolder `vocoder`, unless that is empty.

    It speaks up to 20 frames per token; a greater `stop_bias` makes it stop earlier.
    """
    config: dict[str, Any] = {
        "hidden_size": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 32,
        "num_mel_bins": 8,
        "speaker_embedding_dim": WIDTH,
        "speech_decoder_prenet_units": 16,
        "speech_decoder_postnet_units": 16,
        "speech_decoder_postnet_layers": 3,
        "max_text_positions": 60,
        "max_speech_positions": 300,
    }
    folder.mkdir(parents=True, exist_ok=True)
    letters = _speecht5_tokenizer(folder)
    torch.manual_seed(seed)
    model = SpeechT5ForTextToSpeech(SpeechT5Config(**config | {"vocab_size": len(letters)} | changes))
    stir(model)
    torch.nn.init.constant_(model.speech_decoder_postnet.prob_out.bias, stop_bias)
    model.save_pretrained(folder)
    letters.save_pretrained(folder)
    if vocoder:
        hifigan = SpeechT5HifiGan(SpeechT5HifiGanConfig(model_in_dim=8, sampling_rate=16_000, **_HIFIGAN))
        stir(hifigan)
        hifigan.save_pretrained(folder / vocoder)
    return folder


@written_once
def write_musicgen(
    folder: Path, *, channels: int = 1, new_tokens: int = 40, melody: bool = False, seed: int = 0
) -> Path:
    """Writes a MusicGen that generates `new_tokens` tokens of 8 samples each."""
    reader = T5Config(vocab_size=len(tokenizer()), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    parts: tuple[Any, Any, Any] = (MusicgenDecoderConfig, MusicgenConfig, MusicgenForConditionalGeneration)
    if melody:
        parts = (MusicgenMelodyDecoderConfig, MusicgenMelodyConfig, MusicgenMelodyForConditionalGeneration)
    decoder = parts[0](
        vocab_size=32, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2,
        num_codebooks=4 * channels, audio_channels=channels,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = parts[2](
        parts[1](text_encoder=reader.to_dict(), audio_encoder=encodec(channels).to_dict(), decoder=decoder.to_dict())
    )
    fill_codebooks(model.audio_encoder)
    ids = {"pad_token_id": 32, "bos_token_id": 32, "decoder_start_token_id": 32}
    model.generation_config = GenerationConfig(do_sample=True, guidance_scale=3.0, max_length=new_tokens, **ids)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def _speecht5_tokenizer(folder: Path) -> SpeechT5Tokenizer:
    made = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox jumps over the lazy dog. it's! what? 0123456789"]),
        model_writer=made,
        model_type="char",
        vocab_size=50,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=1,
        bos_id=0,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    path = folder / "letters.model"
    path.write_bytes(made.getvalue())
    return SpeechT5Tokenizer(str(path))


def encodec(channels: int = 1) -> EncodecConfig:
    """Returns the configuration of an EnCodec with frames of 8 samples and 4 codebooks of 32 entries."""
    return EncodecConfig(
        sampling_rate=8000, upsampling_ratios=[4, 2], num_filters=4, hidden_size=8, codebook_size=32, codebook_dim=8,
        target_bandwidths=[20.0], num_lstm_layers=1, chunk_length_s=None, audio_channels=channels,
    )  # fmt: skip


def stir(model: torch.nn.Module) -> None:
    """Enlarges the weights: with default ones, every sentence would be the same silence."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "flows" not in name:
                parameter.add_(
                    torch.randn_like(parameter) * (0.03 if "resblocks" in name or "conv_post" in name else 0.08)
                )


def fill_codebooks(codec: torch.nn.Module) -> None:
    """Fills codebooks with random entries: by default they are zeros, and all codes would sound the same."""
    for name, buffer in codec.named_buffers():
        if name.endswith((".embed", ".embed_sum")):
            torch.nn.init.normal_(buffer)
