"""Models that speak by the codes of a codec say what transformers' own `generate` says, with the same draws."""

import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BarkModel, BarkProcessor, CsmForConditionalGeneration, CsmProcessor

from services.engine.checkpoint import Checkpoint
from services.engine.speech_synthesis.causal_codec import CausalCodec
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker
from services.engine.speech_synthesis.model import Manner, SpeakingModel
from tests.tiny_speakers import CSM_LENGTHS, write_bark, write_csm

CPU = torch.device("cpu")


def loaded(folder: Path) -> SpeakingModel:
    return load_speaker(Checkpoint(str(folder), CPU), SpeakerParts()).speaker


def spoken(speaker: SpeakingModel, tokens: Sequence[int], manner: Manner, seed: int) -> tuple[list[Tensor], Any]:
    """Returns the pieces, and what the next sentence is given; others draw between the steps."""
    pieces: list[Tensor] = []

    def steps() -> Generator[Tensor | None, None, Any]:
        return (yield from speaker.speak(tokens, manner, Draws(seed, CPU)))

    running = steps()
    with torch.inference_mode():
        while True:
            try:
                piece = next(running)
            except StopIteration as end:
                return pieces, end.value
            torch.randn(3)
            if piece is not None:
                pieces.append(piece)


def assert_same(pieces: list[Tensor], expected: Tensor, fewest: int) -> None:
    assert len(pieces) >= fewest, "it came in one piece"
    assert expected.std() > 1e-3, "there is nothing to hear"
    torch.testing.assert_close(torch.cat(pieces), expected, atol=3e-6, rtol=0)


def test_csm_speaks_as_it_draws_and_goes_on_in_the_voice_it_began_with(tmp_path: Path) -> None:
    folder = write_csm(tmp_path)
    speaker, manner = loaded(folder), Manner(voice=3)
    model, processor = CsmForConditionalGeneration.from_pretrained(folder).eval(), CsmProcessor.from_pretrained(folder)
    torch.manual_seed(7)
    expected = model.generate(**processor("[3]hi there"), output_audio=True)[0]
    first, like = spoken(speaker, speaker.read("hi there"), manner, 7)
    assert_same(first, expected, 3)
    torch.manual_seed(8)
    text = "[3]hi there<|AUDIO|><|audio_eos|>[3]more"
    inputs = processor(text, audio=[expected.numpy()], audio_kwargs=CSM_LENGTHS)
    after = model.generate(**inputs, output_audio=True)[0]
    second, still = spoken(speaker, speaker.read("more"), Manner(voice=3, like=like), 8)
    assert_same(second, after, 3)
    assert still is like
    assert not torch.equal(torch.cat(spoken(speaker, speaker.read("more"), manner, 8)[0]), after)


def test_csm_that_ends_at_once_says_nothing(tmp_path: Path) -> None:
    loading = load_speaker(Checkpoint(str(write_csm(tmp_path)), CPU), SpeakerParts())
    with torch.no_grad():
        loading.model.lm_head.weight.zero_()
        loading.model.depth_decoder.codebooks_head.weight.zero_()
    loading.model.generation_config.do_sample = loading.model.depth_decoder.generation_config.do_sample = False
    speaker = loading.speaker
    assert spoken(speaker, speaker.read("hi"), Manner(voice=0), 0) == ([], None)


def test_what_looks_like_a_mark_of_csm_is_said(tmp_path: Path) -> None:
    speaker = loaded(write_csm(tmp_path))
    assert not {320, 321} & {*speaker.read("<|AUDIO|> <|audio_eos|>")}
    assert [speaker.read(text) for text in ("", "?!")] == [[], []]


def test_windows_of_mimi_are_the_whole_and_need_all_that_they_are_given_again(tmp_path: Path) -> None:
    codec = CsmForConditionalGeneration.from_pretrained(write_csm(tmp_path)).eval().double().codec_model
    codes = torch.randint(32, (90, 4))
    with torch.inference_mode():
        whole = codec.decode(codes.T[None]).audio_values[0, 0]

        def windows(less: int) -> Tensor:
            causal = CausalCodec(codec)
            causal._hidden_back -= less
            return torch.cat([causal.sound(part) for part in codes.split(7)])

        assert (windows(0) - whole).abs().max() < 1e-12
        assert (windows(1) - whole).abs().max() > 1e-9
        assert torch.equal(CausalCodec(codec).sound(codes + 32), CausalCodec(codec).sound(torch.full_like(codes, 31)))


def test_bark_speaks_in_the_voice_of_a_file_or_in_that_it_began_with(tmp_path: Path) -> None:
    folder = write_bark(tmp_path)
    speaker = loaded(folder)
    assert list(speaker.voices) == ["any", "v2/anna"]
    model, processor = BarkModel.from_pretrained(folder).eval(), BarkProcessor.from_pretrained(folder)

    def own(seed: int, text: str, voice: Any = None) -> Tensor:
        torch.manual_seed(seed)
        return model.generate(**processor(text, voice_preset=voice, max_length=32))[0]

    pieces, like = spoken(speaker, speaker.read("hi"), Manner(voice=0), 7)
    assert_same(pieces, own(7, "hi"), 1)
    assert_same(spoken(speaker, speaker.read("hi"), Manner(voice=1), 7)[0], own(7, "hi", "v2/anna"), 1)
    before = {part: numbers.numpy() for part, numbers in like.items()}
    pieces, still = spoken(speaker, speaker.read("more"), Manner(voice=0, like=like), 8)
    assert_same(pieces, own(8, "more", before), 1)
    assert still is like
    assert not torch.equal(pieces[0], own(8, "more"))


@pytest.mark.parametrize("write", [write_csm, write_bark])
def test_leaving_ends_their_loops_and_leaves_nothing_behind(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    loading = load_speaker(Checkpoint(str(write(tmp_path)), CPU), SpeakerParts())
    speaker = loading.speaker
    tokens, manner = speaker.read("hi"), Manner(voice=0)
    with torch.inference_mode():
        count = len(list(speaker.speak(tokens, manner, Draws(0, CPU))))
        steps = speaker.speak(tokens, manner, Draws(0, CPU))
        for _ in range(count - 1):  # of Bark the last but one is in the midst of its fine codes
            next(steps)
    assert "turns" in {thread.name for thread in threading.enumerate()}
    steps.close()
    assert "turns" not in {thread.name for thread in threading.enumerate()}
    assert not any(module._forward_pre_hooks for module in loading.model.modules())
