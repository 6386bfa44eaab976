"""Tiny random checkpoints of TTS models that generate latents of an audio codec, as `save_pretrained` writes them."""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import GenerationConfig

from tests.made_once import written_once
from tests.tiny.multimodal_models import extended
from tests.tiny.speakers import stir

_NAMED = {
    "audio_prompt_token": "<voice>",
    "audio_latent_token": "<latent>",
    "audio_prompt_bos_token": "<begin>",
    "audio_bos_token": "<sound>",
}
_TEMPLATE = (
    "{% for m in messages %}{% for p in m.content %}{% if p.type == 'audio' %}<begin><voice>{% else %}"
    "{{ p.text | trim | capitalize }}{% endif %}{% endfor %}{% endfor %}<sound>"
)


@written_once
def write_pocket(folder: Path, *, kind: str = "PocketTTS", end: float | None = None, seed: int = 0) -> Path:
    """Writes a Pocket TTS of frames of 16 samples, 25 a second, with a processor, its codec and two voices.

    The `kind` GradiumPhononTTS has voice vectors wider than its latents. Skips the test if transformers does not know
    the model. `end` is the bias of the logit that ends the sentence; None lets it end soon.
    """
    phonon = kind == "GradiumPhononTTS"
    if end is None:
        end = -4.0 if phonon else -4.05
    if find_spec("transformers.models.pocket_tts") is None:
        pytest.skip("of a later version of transformers")
    library: Any = importlib.import_module("transformers")
    named = {name: mark for name, mark in _NAMED.items() if not (phonon and mark == "<begin>")}
    letters = extended(list(named.values()), named)
    ids = {f"{name}_id": letters.convert_tokens_to_ids(mark) for name, mark in named.items()}
    torch.manual_seed(seed)
    _write_codec(folder / "codec", library)
    model = getattr(library, f"{kind}ForConditionalGeneration")(
        getattr(library, f"{kind}Config")(
            vocab_size=len(letters), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            latent_dim=4, pad_token_id=0, frame_rate=25.0, **ids, **({"audio_prompt_dim": 6} if phonon else {}),
            flow_head_config={
                "hidden_size": 16, "num_hidden_layers": 2, "latent_dim": 4, "condition_dim": 32,
                "frequency_embedding_size": 8,
            },
        )
    )  # fmt: skip
    stir(model)
    with torch.no_grad():
        model.eos_head.bias.fill_(end)
        model.eos_head.weight.mul_(0.1)
        model.latent_mean.normal_()
        model.latent_std.uniform_(0.5, 2.0)
    own: dict[str, Any] = {"num_flow_steps": 2, "eos_threshold": -4.0, "min_frames_before_eos": 6}
    model.generation_config = GenerationConfig(do_sample=True, temperature=0.7, return_dict_in_generate=True, **own)
    model.save_pretrained(folder)
    library.PocketTTSProcessor(
        library.PocketTTSFeatureExtractor(sampling_rate=400, frame_size=16, pad_to_multiple_of=16), letters,
        library.PocketTTSAudioTokenizerModel.from_pretrained(folder / "codec"),
        chat_template=_TEMPLATE.replace("<begin>", "") if phonon else _TEMPLATE,
        fade_in_duration=0.02, frames_after_eos=3,
    ).save_pretrained(folder)  # fmt: skip
    width = 6 if phonon else 4
    save_file({"anna": torch.randn(5, width), "bert": torch.randn(9, width)}, folder / "voices.safetensors")
    return folder


def _write_codec(folder: Path, library: Any) -> None:
    codec = library.PocketTTSAudioTokenizerModel(
        library.PocketTTSAudioTokenizerConfig(
            sampling_rate=400, hidden_size=16, num_filters=4, upsampling_ratios=[4, 2], latent_stride=2, latent_dim=4,
            upsample_groups=16, num_hidden_layers=2, intermediate_size=32, num_attention_heads=2,
            num_key_value_heads=2, sliding_window=10,
        )
    )  # fmt: skip
    stir(codec)
    with torch.no_grad():
        codec.decoder.decoder_seanet.layers[-1].conv.weight.mul_(0.03)
    codec.save_pretrained(folder)
