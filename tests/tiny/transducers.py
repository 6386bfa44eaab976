"""Tiny random checkpoints of transducers, as `save_pretrained` writes them."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForRNNT, AutoModelForTDT, ParakeetFeatureExtractor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.made_once import written_once
from tests.sounds import sound
from tests.tiny.audio_models import RATE, piece_tokenizer
from tests.tiny.vision_models import stir

_ENCODER: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_mel_bins": 16,
    "subsampling_factor": 4, "subsampling_conv_channels": 8, "conv_kernel_size": 5, "max_position_embeddings": 400,
}  # fmt: skip
_MORE: dict[str, dict[str, Any]] = {
    "parakeet_tdt": {"durations": [0, 1, 2, 3, 4]},
    "nemotron3_5_asr": {"num_prompts": 8, "prompt_intermediate_size": 16, "default_prompt_id": 3},
}


@written_once
def write_transducer(folder: Path, kind: str) -> Path:
    """Writes a random transducer with its feature extractor and its tokenizer."""
    tokenizer = piece_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<blank>"]})
    blank: Any = tokenizer.convert_tokens_to_ids("<blank>")
    torch.manual_seed(6)  # a seed with which TDT does not predict duration 0 for ever
    config: Any = CONFIG_MAPPING[kind]
    config = config(
        vocab_size=len(tokenizer), decoder_hidden_size=24, num_decoder_layers=2, max_symbols_per_step=3,
        encoder_config=_ENCODER, pad_token_id=tokenizer.pad_token_id, blank_token_id=blank, **_MORE.get(kind, {}),
    )  # fmt: skip
    model: Any = (AutoModelForTDT if kind == "parakeet_tdt" else AutoModelForRNNT).from_config(config).eval()
    stir(model)
    extractor = ParakeetFeatureExtractor(feature_size=16)
    _level(model, extractor(sound(4), sampling_rate=RATE, return_tensors="pt"), blank)
    model.generation_config.decoder_start_token_id = blank
    if kind == "parakeet_tdt":  # its `generate` would take durations for tokens
        model.generation_config.suppress_tokens = [len(tokenizer) + i for i in range(5)]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@torch.inference_mode()
def _level(model: Any, inputs: Any, blank: int) -> None:
    """Balances encoder and prediction network, and makes all tokens but the blank about equally likely."""
    heard = model.get_audio_features(**inputs).pooler_output[0]
    model.encoder_projector.weight /= heard.std(0).mean()
    model.decoder.decoder_projector.weight *= 8
    model.encoder_projector.bias += 1 - model.get_audio_features(**inputs).pooler_output[0].mean(0)
    states = model.get_audio_features(**inputs).pooler_output[0]
    before = model.decoder(torch.arange(model.config.vocab_size)[:, None])
    # Duration 0 shares the blank's weights: where it is likely, so is the blank, and decoding always ends.
    model.joint.head.weight[model.config.vocab_size :][:1] = model.joint.head.weight[blank]
    model.joint.head.bias -= model.joint(states, before).mean((0, 1))
    model.joint.head.bias[blank] += 1.5 * model.joint(states, before).std()
