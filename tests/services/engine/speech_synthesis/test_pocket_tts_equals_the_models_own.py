"""Pocket TTS gives the audio of transformers' own processor and `generate` with the same random draws."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker, try_out
from services.engine.speech_synthesis.model import LoadedSpeaker, Manner
from tests.services.engine.speech_synthesis.codes import CPU, assert_same, heard, spoken
from tests.tiny.latent_speakers import write_pocket

VOICES = "voices.safetensors"


def loaded(folder: Path) -> LoadedSpeaker:
    return load_speaker(Checkpoint(str(folder), CPU), SpeakerParts(voices=folder / VOICES))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelRefused) as caught:
        loaded(folder)
    return str(caught.value)


class Own:
    """The library's own processor and `generate`, called by hand."""

    def __init__(self, folder: Path) -> None:
        library: Any = importlib.import_module("transformers")
        self._model = library.AutoModelForTextToWaveform.from_pretrained(folder).eval()
        self._processor = library.PocketTTSProcessor.from_pretrained(folder)
        self._voices = load_file(folder / VOICES)

    @torch.inference_mode()
    def __call__(self, seed: int, text: str, voice: str) -> Tensor:
        chat = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": text}]}]
        read = self._processor
        written, told = read.tokenizer.apply_chat_template(chat, tokenize=False), self._voices[voice]
        inputs = read(text=[written], audio_prompt_latents=[told], return_tensors="pt", add_special_tokens=False)
        torch.manual_seed(seed)
        made = self._model.generate(**inputs)
        return read.decode(made.audio_latents, made.audio_latents_mask)[0]


@pytest.mark.parametrize(
    ("kind", "voice", "text", "seed"),
    [
        ("PocketTTS", "anna", "hi there", 5),
        ("PocketTTS", "bert", "one two a b c", 1),
        ("GradiumPhononTTS", "anna", "one two a b c", 1),
    ],
)
def test_it_speaks_as_it_draws_in_a_voice_of_the_file(
    tmp_path: Path, kind: str, voice: str, text: str, seed: int
) -> None:
    folder = write_pocket(tmp_path, kind=kind)
    speaker = loaded(folder).speaker
    assert list(speaker.voices) == ["anna", "bert"]
    manner = Manner(voice=speaker.voices.index(voice))
    pieces, like = spoken(speaker, speaker.read(text), manner, seed)
    assert_same(pieces, Own(folder)(seed, text, voice), 2)
    assert like is None
    assert not torch.equal(pieces[0], spoken(speaker, speaker.read(text), Manner(voice=1 - manner.voice), seed)[0][0])


def test_one_that_does_not_end_speaks_as_long_as_the_library_lets_it(tmp_path: Path) -> None:
    folder = write_pocket(tmp_path, end=-9.0)
    speaker = loaded(folder).speaker
    pieces, end = heard(speaker, speaker.read("hi"), Manner(), 3)
    assert_same(pieces, Own(folder)(3, "hi", "anna"), 3)
    assert end.cut


def test_a_short_text_ends_as_its_processor_lets_it(tmp_path: Path) -> None:
    folder = write_pocket(tmp_path, end=9.0)
    speaker = loaded(folder).speaker
    ends = [heard(speaker, speaker.read(text), Manner(), 3) for text in ("a b", "a b c d e")]
    assert [(len(torch.cat(pieces)), end.cut) for pieces, end in ends] == [(16 * (7 + 4), False), (16 * (7 + 3), False)]


def test_leaving_ends_its_loop_and_leaves_nothing_behind(tmp_path: Path, loops: Callable[[], int]) -> None:
    speaking = loaded(write_pocket(tmp_path))
    with torch.inference_mode():
        steps = speaking.speaker.speak(speaking.speaker.read("hi"), Manner(), Draws(0, CPU))
        for _ in range(4):
            next(steps)
    assert loops() == 1
    steps.close()
    assert loops() == 0
    assert not speaking.model._forward_pre_hooks


def test_control_tokens_in_a_text_are_spoken(tmp_path: Path) -> None:
    speaker = loaded(write_pocket(tmp_path)).speaker
    assert max(speaker.read("a <voice> <sound><pad>")) < 320
    assert min(speaker.read("a <voice> <sound><pad>")) > 5
    assert [speaker.read(text) for text in ("", "?!")] == [[], []]


def test_its_codec_is_tried(tmp_path: Path) -> None:
    speaking = loaded(write_pocket(tmp_path))
    speaker: Any = speaking.speaker
    try_out(speaking)
    with torch.no_grad():
        speaker._codec.latent_proj.weight.fill_(float("nan"))
    with pytest.raises(ModelRefused, match="NaN or infinite audio"):
        try_out(speaking)


@pytest.mark.parametrize("kind", ["PocketTTS", "GradiumPhononTTS"])
def test_voices_that_lie_beside_it_are_read_where_no_file_is_named(tmp_path: Path, kind: str) -> None:
    folder = write_pocket(tmp_path, kind=kind)
    told, shipped = load_file(folder / VOICES), folder / "voices"
    shipped.mkdir()
    for name, latents in told.items():  # one voice has a batch dimension
        save_file({"latents": latents[None] if name == "bert" else latents}, shipped / f"{name}.safetensors")
    (shipped / "carl.pt").write_bytes(b"is not read, whatever it is")
    (shipped / "README.md").write_text("voices")
    speaker = load_speaker(Checkpoint(str(folder), CPU), SpeakerParts()).speaker
    assert list(speaker.voices) == ["anna", "bert"]
    own = Own(folder)
    for place, name in enumerate(speaker.voices):
        pieces, _ = spoken(speaker, speaker.read("one two"), Manner(voice=place), 1)
        assert_same(pieces, own(1, "one two", name), 2)
    save_file({"own": told["anna"]}, folder / VOICES)
    assert list(loaded(folder).speaker.voices) == ["own"]


def test_what_a_model_made_of_a_voice_is_no_voice(tmp_path: Path) -> None:
    folder = write_pocket(tmp_path)
    (folder / "voices").mkdir()
    file = folder / "voices" / "anna.safetensors"

    def unread() -> str:
        with pytest.raises(ModelRefused) as caught:
            load_speaker(Checkpoint(str(folder), CPU), SpeakerParts())
        return str(caught.value)

    state = {f"layers.{i}.self_attn/cache": torch.zeros(2, 1, 7, 4, 8) for i in range(2)}
    save_file(state | {"layers.0.self_attn/offset": torch.tensor([7])}, file)
    said = unread()
    assert f"{file} does not hold the latents of one voice, but 3 arrays (layers.0.self_attn/cache, " in said
    assert "Those are not read: name a file of voices with --voices, each `[frames, latents]` as the codec" in said
    save_file({"cache": torch.zeros(2, 1, 7, 4, 8)}, file)
    assert "the voice 'anna' is [2, 1, 7, 4, 8] numbers, and the model takes 4 for each of up to" in unread()
    save_file({"latents": torch.zeros(7, 4, dtype=torch.int64)}, file)
    assert "the voice 'anna'" in unread()
    file.write_bytes(b"no safetensors")
    assert "cannot be loaded" in unread()


def test_its_voices_codec_and_template_fit_it(tmp_path: Path) -> None:
    folder = write_pocket(tmp_path)
    with pytest.raises(ModelRefused, match="name a file of voices with --voices, each"):
        load_speaker(Checkpoint(str(folder), CPU), SpeakerParts())
    save_file({"anna": torch.randn(5, 3)}, folder / VOICES)
    assert "the voice 'anna' is [5, 3] numbers, and the model takes 4 for each of up to" in refusal(folder)
    save_file({"anna": torch.randn(5, 4)}, folder / VOICES)
    config = folder / "codec" / "config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps(told | {"trim_right_ratio": 0.5}))
    assert "with a codec that makes sound of 4 numbers a frame" in refusal(folder)
    config.write_text(json.dumps(told))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content[1].text }}<sound>")
    assert "needs a chat template for a voice and a text: its files have another" in refusal(folder)
    (folder / "chat_template.jinja").unlink()
    assert "needs a chat template for a voice and a text" in refusal(folder)
