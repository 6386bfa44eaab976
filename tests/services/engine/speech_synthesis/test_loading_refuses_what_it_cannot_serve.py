"""A synthesizer that cannot be served is refused at load, with the reason and advice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    FastSpeech2ConformerConfig,
    PretrainedConfig,
    Qwen2_5OmniConfig,
    SeamlessM4TConfig,
    UnivNetConfig,
    VibeVoiceConfig,
    VitsModel,
)

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.speech_synthesis import loading
from services.engine.speech_synthesis.bark import Bark
from services.engine.speech_synthesis.higgs import Higgs
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker, try_out
from services.speech.task import SpeechTask, choose_task
from tests.tiny.codec_speakers import write_bark, write_csm, write_dia, write_higgs
from tests.tiny.speakers import WIDTH, write_musicgen, write_speecht5, write_vits

CPU, ALONE = torch.device("cpu"), SpeakerParts()
END = torch.tensor([40])
"""End token of Bark's semantic model."""


def refusal(folder: Path, parts: SpeakerParts = ALONE) -> str:
    with pytest.raises(ModelRefused) as caught:
        load_speaker(Checkpoint(str(folder), CPU), parts)
    return str(caught.value)


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def bark_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model that reads any of the voices beside it."""
    return load_speaker(Checkpoint(str(write_bark(tmp_path_factory.mktemp("bark"))), CPU), ALONE).model


def test_a_vocoder_is_found_by_name_or_in_the_models_folder(tmp_path: Path) -> None:
    folder = write_speecht5(tmp_path / "model", vocoder="other")
    message = refusal(folder)
    assert "makes spectrograms, and there is no vocoder" in message
    assert "--vocoder" in message
    assert "`vocoder`" in message
    assert "The vocoder /no/such/folder cannot be loaded" in refusal(folder, SpeakerParts(vocoder="/no/such/folder"))
    try_out(load_speaker(Checkpoint(str(folder), CPU), SpeakerParts(vocoder=str(folder / "other"))))


def test_a_vocoder_of_other_bands_is_refused(tmp_path: Path) -> None:
    narrow = write_speecht5(tmp_path / "narrow")
    wide = write_speecht5(tmp_path / "wide", num_mel_bins=10, vocoder="")
    assert "reads 8 bands" in refusal(wide, SpeakerParts(vocoder=str(narrow / "vocoder")))


def test_voices_must_fit_the_model(tmp_path: Path) -> None:
    folder, voices = write_speecht5(tmp_path / "model"), tmp_path / "voices.safetensors"
    save_file({"anna": torch.ones(WIDTH + 1)}, voices)
    assert f"the voice 'anna' has {WIDTH + 1} numbers, and the model takes {WIDTH}" in refusal(
        folder, SpeakerParts(voices=voices)
    )
    vits = write_vits(tmp_path / "vits")
    assert "--voices" in refusal(vits, SpeakerParts(voices=voices))
    assert "--vocoder" in refusal(vits, SpeakerParts(vocoder=str(folder / "vocoder")))


@pytest.mark.parametrize(
    "numbers",
    [
        np.array([1, None]),
        np.arange(9),
        np.full((2, 9), 32),
        np.full((2, 9), -1),
        np.zeros((2, 9)),
        np.zeros((2, 0), int),
    ],
)
def test_voices_of_bark_are_numbers_of_its_codes(
    bark_model: Any, tmp_path: Path, numbers: "np.ndarray[Any, Any]"
) -> None:
    path = write_bark(tmp_path) / "anna_coarse.npy"
    np.save(path, numbers, allow_pickle=True)
    with pytest.raises(ModelRefused, match=rf"{path} is no part of a voice of this model\.$"):
        Bark(bark_model, None, Checkpoint(str(tmp_path), CPU))


@pytest.mark.parametrize("held", [b"", b"PK\x03\x04", b"\x93NUMPY\1\0", "npz", "larger"])
def test_damaged_voices_of_bark(bark_model: Any, tmp_path: Path, held: bytes | str) -> None:
    path = write_bark(tmp_path) / "anna_semantic.npy"
    with path.open("wb") as file:
        if held == "npz":
            np.savez(file, np.arange(3))
        elif held == "larger":
            np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (10**13,)})
        else:
            file.write(bytes(held))
    with pytest.raises(ModelRefused, match=rf"{path} is no part of a voice of this model\.$"):
        Bark(bark_model, None, Checkpoint(str(tmp_path), CPU))


@pytest.mark.parametrize("write", [write_bark, write_csm, write_dia, write_higgs, write_musicgen])
def test_sampling_needs_a_generation_configuration(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    own = write(tmp_path) / "generation_config.json"
    own.write_text("{")
    assert "cannot be loaded" in refusal(tmp_path)
    own.unlink()
    assert "needs its generation_config.json" in refusal(tmp_path)


@pytest.mark.parametrize("write", [write_bark, write_csm, write_dia, write_higgs])
def test_a_length_limit_without_room_for_speech_is_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    own = write(tmp_path) / "generation_config.json"
    held = json.loads(own.read_text())
    held.get("semantic_config", held)["max_new_tokens"] = 8
    own.write_text(json.dumps(held))
    codec = str(tmp_path / "codec") if write in (write_dia, write_higgs) else None
    assert "speak for" in refusal(tmp_path, SpeakerParts(vocoder=codec))


def test_voices_of_bark_lie_beside_it(tmp_path: Path) -> None:
    folder = write_bark(tmp_path / "model")
    (folder / "anna_fine.npy").rename(tmp_path / "anna_fine.npy")
    voices = json.loads((folder / "speaker_embeddings_path.json").read_text())
    for place in ("anna_fine.npy", "../anna_fine.npy", str(tmp_path / "anna_fine.npy")):
        voices["v2/anna"]["fine_prompt"] = place
        (folder / "speaker_embeddings_path.json").write_text(json.dumps(voices))
        assert list(load_speaker(Checkpoint(str(folder), CPU), ALONE).speaker.voices) == ["any"]
    assert "speaker_embeddings_path.json" in refusal(folder, SpeakerParts(voices=tmp_path))


def test_a_voice_of_bark_that_is_called_as_none_is_left_out(tmp_path: Path) -> None:
    path = write_bark(tmp_path) / "speaker_embeddings_path.json"
    anna = json.loads(path.read_text())["v2/anna"]
    path.write_text(json.dumps({"any": anna, "v2/anna": anna}))
    assert list(load_speaker(Checkpoint(str(tmp_path), CPU), ALONE).speaker.voices) == ["any", "v2/anna"]


@pytest.mark.parametrize("write", [write_bark, write_musicgen])
def test_one_that_makes_sound_at_its_end_alone_is_tried_to_that_end(tmp_path: Path, write: Callable[..., Path]) -> None:
    loaded = load_speaker(Checkpoint(str(write(tmp_path, new_tokens=250)), CPU), ALONE)
    codec = loaded.model.codec_model if write is write_bark else loaded.model.audio_encoder
    if write is write_bark:  # otherwise it would stop before the limit
        loaded.model.semantic.lm_head.register_forward_hook(
            lambda _part, _given, scores: scores.index_fill(-1, END, -99.0)
        )
    heard = list[torch.Tensor]()
    codec.decoder.register_forward_hook(lambda _part, _given, sound: heard.append(sound))
    try_out(loaded)
    assert [0 < sound.shape[-1] <= 16 * 8 for sound in heard] == [True]


def test_a_codec_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    folder = write_csm(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", codec_config=config["codec_config"] | {"use_causal_conv": False})
    assert "convolutions are causal" in refusal(folder)


def test_a_codec_is_named_by_the_operator_or_by_the_checkpoint(tmp_path: Path) -> None:
    folder = write_dia(tmp_path)
    parts = SpeakerParts(vocoder=str(folder / "codec"))
    (folder / "processor_config.json").unlink()
    assert "names no codec" in refusal(folder)
    assert load_speaker(Checkpoint(str(folder), CPU), parts).speaker.sample_rate == 800
    change(folder / "generation_config.json", max_length=8)
    assert "generation_config.json that lets it speak" in refusal(folder, parts)
    change(folder / "codec" / "config.json", n_codebooks=2)
    assert "codec" in refusal(folder, parts)


def test_the_codec_and_the_template_of_higgs_audio_fit_it(tmp_path: Path) -> None:
    folder = write_higgs(tmp_path)
    assert "--voices: Higgs Audio has none" in refusal(folder, SpeakerParts(voices=tmp_path))
    change(folder / "codec" / "config.json", codebook_size=30)
    assert "The codec " in refusal(folder)
    change(folder / "codec" / "config.json", codebook_size=32)
    change(folder / "config.json", audio_stream_bos_id=31)
    assert "has 3 codebooks of 32 codes, and Higgs Audio 3 of 31" in refusal(folder)
    change(folder / "config.json", audio_stream_bos_id=32)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|AUDIO_OUT|>", ""))
    assert "needs a chat template for texts and how they sound" in refusal(folder)
    template.unlink()
    assert "needs a chat template for texts and how they sound" in refusal(folder)


def test_the_codec_of_higgs_audio_is_tried(tmp_path: Path) -> None:
    loaded = load_speaker(Checkpoint(str(write_higgs(tmp_path)), CPU), ALONE)
    windows = cast("Higgs", loaded.speaker)._windows
    windows._decode = lambda part: torch.full((10 * len(part),), float("nan"))
    with pytest.raises(ModelRefused, match="NaN or infinite audio"):
        try_out(loaded)


def test_models_listed_with_those_that_hear_are_served_for_what_they_say(tmp_path: Path) -> None:
    assert choose_task(Checkpoint(str(write_dia(tmp_path)), CPU), "auto") is SpeechTask.SYNTHESIZE


@pytest.mark.parametrize(("setting", "package"), [("phonemize", "phonemizer"), ("is_uroman", "uroman")])
def test_a_tokenizer_that_needs_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, package: str
) -> None:
    folder = write_vits(tmp_path)
    change(folder / "tokenizer_config.json", **{setting: True})
    monkeypatch.setattr(loading, f"is_{package}_available", lambda: False)
    assert f"with the help of {package}: install it" in refusal(folder)
    monkeypatch.setattr(loading, f"is_{package}_available", lambda: True)
    assert load_speaker(Checkpoint(str(folder), CPU), ALONE).speaker.sample_rate == 8000


def test_a_vocabulary_that_is_missing(tmp_path: Path) -> None:
    folder = write_vits(tmp_path)
    (folder / "vocab.json").unlink()
    assert "A file that its tokenizer or its processor is made of is missing." in refusal(folder)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SeamlessM4TConfig(), "is seamless_m4t: it is served for what it hears, by --task transcribe"),
        (VibeVoiceConfig(), "is vibevoice: it takes its steps from diffusers"),
        (Qwen2_5OmniConfig(), "is qwen2_5_omni: services.multimodal serves it"),
        (UnivNetConfig(), "is univnet: of models that make sound of texts, VITS, SpeechT5, CSM, Dia, Bark"),
        (FastSpeech2ConformerConfig(), "g2p_en"),
    ],
)
def test_other_kinds_are_refused(tmp_path: Path, config: PretrainedConfig, words: str) -> None:
    config.save_pretrained(tmp_path)
    assert words in refusal(tmp_path)


def test_weights_in_float16_are_computed_in_float32_on_the_cpu(tmp_path: Path) -> None:
    folder = write_vits(tmp_path)
    VitsModel.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    assert load_speaker(Checkpoint(str(folder), CPU), ALONE).model.dtype == torch.float32
    assert load_speaker(Checkpoint(str(folder), CPU, dtype="bfloat16"), ALONE).model.dtype == torch.bfloat16


def test_two_channels_are_refused(tmp_path: Path) -> None:
    assert "two channels" in refusal(write_musicgen(tmp_path, channels=2))


def test_a_model_whose_sound_is_no_number_is_refused(tmp_path: Path) -> None:
    loaded = load_speaker(Checkpoint(str(write_vits(tmp_path)), CPU), ALONE)
    try_out(loaded)
    with torch.no_grad():
        loaded.model.decoder.conv_post.weight.fill_(float("nan"))
    with pytest.raises(ModelRefused, match="NaN or infinite audio"):
        try_out(loaded)


@pytest.mark.parametrize(
    ("write", "head"),
    [
        (write_csm, "depth_decoder.codebooks_head"),
        (write_bark, "fine_acoustics.lm_heads.1"),
        (write_musicgen, "decoder.lm_heads.2"),
        (write_speecht5, "speech_decoder_postnet.prob_out"),
    ],
)
def test_scores_that_are_no_numbers_choose_no_codes(tmp_path: Path, write: Callable[[Path], Path], head: str) -> None:
    """The likeliest of scores that are NaN is some code, which sounds like any other."""
    loaded = load_speaker(Checkpoint(str(write(tmp_path)), CPU), ALONE)
    speaker: Any = loaded.speaker
    loaded.model.generation_config.do_sample = False
    if write is write_csm:
        loaded.model.depth_decoder.generation_config.do_sample = False
    if write is write_bark:
        speaker._fine.temperature = 1.0
    try_out(loaded)
    with torch.no_grad():
        loaded.model.get_submodule(head).weight.fill_(float("nan"))
    with pytest.raises(ModelRefused, match="its scores are NaN or infinite"):
        try_out(loaded)
