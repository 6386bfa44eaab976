"""Higgs Audio gives the audio of transformers' own processor and `generate` with the same random draws."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import HiggsAudioV2ForConditionalGeneration, HiggsAudioV2Processor

from services.engine.checkpoint import Checkpoint
from services.engine.speech_synthesis.higgs_codec import windows_of
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker
from services.engine.speech_synthesis.model import Manner, Spoken
from tests.services.engine.speech_synthesis.codes import CPU, assert_same, heard, loaded, spoken
from tests.tiny.codec_speakers import write_higgs

ASKED = [("system", "Generate audio following instruction."), ("scene", "Audio is recorded from a quiet room.")]


class Own:
    """The library's own processor and `generate`, called by hand."""

    def __init__(self, folder: Path) -> None:
        self.model = HiggsAudioV2ForConditionalGeneration.from_pretrained(folder).eval()
        self.processor: Any = HiggsAudioV2Processor.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, seed: int, text: str, before: str = "", codes: Tensor | None = None) -> Tensor:
        """Returns the audio of a text, after an earlier text with codes `[frames, codebooks]`."""
        turns: list[Any] = [*ASKED, *([("user", before), ("assistant", None)] if before else []), ("user", text)]
        parts = [(role, {"type": "text", "text": said} if said else {"type": "audio"}) for role, said in turns]
        chat = [{"role": role, "content": [part]} for role, part in parts]
        written = self.processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        more: dict[str, Any] = {}
        if codes is not None:  # the sampled codes, not those that the codec would encode from their audio
            self.processor.audio_tokenizer.encode = lambda **_: type("Found", (), {"audio_codes": codes.T[None]})
            more = {"audio": [np.zeros(10 * len(codes), np.float32)], "audio_kwargs": {"sampling_rate": 400}}
        inputs = self.processor(text=[written], return_tensors="pt", add_special_tokens=False, **more)
        torch.manual_seed(seed)
        return self.processor.batch_decode(self.model.generate(**inputs))[0]


def test_it_speaks_as_it_draws_and_goes_on_in_the_voice_it_began_with(tmp_path: Path) -> None:
    folder = write_higgs(tmp_path, new_tokens=70)
    speaker, own = loaded(folder), Own(folder)
    pieces, like = spoken(speaker, speaker.read("hi there"), Manner(), 4)
    assert_same(pieces, own(4, "hi there"), 2)
    assert len(like.codes) < 67, "it did not end by itself"
    pieces, still = spoken(speaker, speaker.read("more"), Manner(like=like), 8)
    assert_same(pieces, after := own(8, "more", "hi there", like.codes), 1)
    assert still is like
    assert not torch.equal(torch.cat(spoken(speaker, speaker.read("more"), Manner(), 8)[0]), after)


def test_one_that_ends_at_once_has_no_voice_to_go_on_in(tmp_path: Path) -> None:
    loading = load_speaker(Checkpoint(str(write_higgs(tmp_path)), CPU), SpeakerParts())
    ends = torch.zeros(3 * 34).index_fill(0, torch.arange(33, 3 * 34, 34), 99.0)
    loading.model.audio_lm_head.register_forward_hook(lambda _head, _given, scores: scores + ends)
    speaker = loading.speaker
    assert heard(speaker, speaker.read("hi there"), Manner(), 2) == ([], Spoken(cut=False))


@pytest.mark.parametrize(
    ("most", "frames"), [({"max_new_tokens": 70}, 67), ({"max_new_tokens": None, "max_length": 150}, 53)]
)
def test_one_that_does_not_end_says_as_much_as_its_files_allow(
    tmp_path: Path, most: dict[str, Any], frames: int
) -> None:
    folder = write_higgs(tmp_path)
    own = folder / "generation_config.json"
    own.write_text(json.dumps(json.loads(own.read_text()) | most))
    speaker = loaded(folder)
    pieces, end = heard(speaker, speaker.read("hi there"), Manner(), 2)
    assert_same(pieces, Own(folder)(2, "hi there"), 2)
    assert (len(end.like.codes), end.cut) == (frames, True)


def test_control_tokens_in_a_text_are_spoken(tmp_path: Path) -> None:
    speaker = loaded(write_higgs(tmp_path))
    assert not set(range(6)) & {*speaker.read("<|AUDIO_OUT|> <end>")}
    assert max(speaker.read("<|AUDIO_OUT|><|audio_eos|>")) < 320
    assert [speaker.read(text) for text in ("", "?!")] == [[], []]


@pytest.mark.parametrize("less", [0, 1])
def test_windows_of_its_codec_are_the_whole_and_need_all_that_they_look_at(tmp_path: Path, less: int) -> None:
    """Covers an odd stride, which needs output padding."""
    codec = Own(write_higgs(tmp_path)).processor.audio_tokenizer.eval().double()
    codes = torch.randint(32, (300, 3))
    with torch.inference_mode():
        windows, whole = windows_of(codec), codec.decode(codes.T[None]).audio_values[0, 0]
        windows.reach -= less
        pieces = list(windows.pieces(codes))
    assert len(pieces) == 4
    assert ((torch.cat(pieces) - whole).abs().max() < 1e-12) == (not less)
