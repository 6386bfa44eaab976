"""Models that generate codec codes give the audio of transformers' own `generate` with the same random draws."""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    BarkModel,
    BarkProcessor,
    CsmForConditionalGeneration,
    CsmProcessor,
    DacModel,
    DiaForConditionalGeneration,
    DiaProcessor,
)

from services.engine.checkpoint import Checkpoint
from services.engine.speech_synthesis.causal_codec import CausalCodec
from services.engine.speech_synthesis.draws import Draws
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker
from services.engine.speech_synthesis.model import Manner, Spoken
from services.engine.speech_synthesis.reading import read_text
from services.engine.speech_synthesis.vocoder import WindowedDac
from tests.services.engine.speech_synthesis.codes import CPU, assert_same, heard, loaded, spoken
from tests.tiny.codec_speakers import CSM_LENGTHS, write_bark, write_csm, write_dia, write_higgs


def test_csm_speaks_as_it_draws_and_goes_on_in_the_voice_it_began_with(tmp_path: Path) -> None:
    folder = write_csm(tmp_path, new_tokens=24)
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


@pytest.mark.filterwarnings("ignore:Csm does not support")
def test_csm_speaks_no_longer_and_no_shorter_than_its_files_say(tmp_path: Path) -> None:
    own = write_csm(tmp_path) / "generation_config.json"
    said = {name: value for name, value in json.loads(own.read_text()).items() if name != "max_new_tokens"}
    own.write_text(json.dumps(said | {"max_length": 24, "min_new_tokens": 12, "eos_token_id": 3}))
    model, processor = (
        CsmForConditionalGeneration.from_pretrained(tmp_path).eval(),
        CsmProcessor.from_pretrained(tmp_path),
    )
    torch.manual_seed(7)
    expected = model.generate(**processor("[0]hi"), output_audio=True)[0]
    speaker = loaded(tmp_path)
    tokens = speaker.read("hi")
    assert len(expected) == 16 * (24 - len(tokens))
    pieces, end = heard(speaker, tokens, Manner(voice=0), 7)
    assert_same(pieces, expected, 2)
    assert end.cut
    assert speaker.most_tokens == 4


def test_csm_that_ends_at_once_says_nothing(tmp_path: Path) -> None:
    loading = load_speaker(Checkpoint(str(write_csm(tmp_path)), CPU), SpeakerParts())
    with torch.no_grad():
        loading.model.lm_head.weight.zero_()
        loading.model.depth_decoder.codebooks_head.weight.zero_()
    loading.model.generation_config.do_sample = loading.model.depth_decoder.generation_config.do_sample = False
    speaker = loading.speaker
    assert heard(speaker, speaker.read("hi"), Manner(voice=0), 0) == ([], Spoken(cut=False))


def test_csm_says_a_sentence_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = write_csm(tmp_path, new_tokens=24) / "generation_config.json"
    own.write_text(json.dumps(json.loads(own.read_text()) | {"eos_token_id": 5, "max_length": 300}))
    speaker, library = loaded(tmp_path), logging.getLogger("transformers")
    library.addHandler(caplog.handler)  # transformers' logger may not propagate to the root
    caplog.clear()
    try:
        assert spoken(speaker, speaker.read("hi"), Manner(voice=0), 7)[0]
    finally:
        library.removeHandler(caplog.handler)
    assert caplog.messages == []


def test_csm_speaks_control_tokens_in_a_text(tmp_path: Path) -> None:
    speaker = loaded(write_csm(tmp_path))
    assert not {320, 321} & {*speaker.read("<|AUDIO|> <|audio_eos|>")}
    assert [speaker.read(text) for text in ("", "?!")] == [[], []]


def test_windows_of_mimi_are_the_whole_and_need_all_that_they_are_given_again(tmp_path: Path) -> None:
    codec = CsmForConditionalGeneration.from_pretrained(write_csm(tmp_path)).eval().double().codec_model
    codes = torch.randint(32, (90, 4))
    with torch.inference_mode():
        whole = codec.decode(codes.T[None]).audio_values[0, 0]

        def windows(less: int) -> Tensor:
            causal = CausalCodec.of(codec)
            causal._hidden_back -= less
            return torch.cat([causal.sound(part) for part in codes.split(7)])

        assert (windows(0) - whole).abs().max() < 1e-12
        assert (windows(1) - whole).abs().max() > 1e-9
        assert torch.equal(
            CausalCodec.of(codec).sound(codes + 32), CausalCodec.of(codec).sound(torch.full_like(codes, 31))
        )


def test_bark_speaks_in_the_voice_of_a_file_or_in_that_it_began_with(tmp_path: Path) -> None:
    folder = write_bark(tmp_path, new_tokens=24)
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


def test_bark_tells_whether_it_came_to_an_end(tmp_path: Path) -> None:
    loading = load_speaker(Checkpoint(str(write_bark(tmp_path)), CPU), SpeakerParts())
    speaker, before = loading.speaker, {"semantic_prompt": torch.arange(9)}
    end = torch.zeros(48).index_fill(0, torch.tensor([40]), 99.0)
    assert heard(speaker, speaker.read("hi"), Manner(voice=0), 7)[1].cut
    loading.model.semantic.lm_head.register_forward_hook(lambda _head, _given, scores: scores + end)
    assert heard(speaker, speaker.read("hi"), Manner(voice=0, like=before), 7) == ([], Spoken(cut=False, like=before))


@pytest.mark.parametrize(
    "write",
    [
        partial(write_csm, new_tokens=24),
        partial(write_bark, new_tokens=16),
        partial(write_dia, length=60),
        partial(write_higgs, new_tokens=24),
    ],
    ids=["csm", "bark", "dia", "higgs"],
)
def test_leaving_ends_their_loops_and_leaves_nothing_behind(
    tmp_path: Path, write: Callable[[Path], Path], loops: Callable[[], int]
) -> None:
    loading = load_speaker(Checkpoint(str(write(tmp_path)), CPU), SpeakerParts())
    speaker = loading.speaker
    tokens, manner = speaker.read("hi"), Manner(voice=0)
    with torch.inference_mode():
        count = len(list(speaker.speak(tokens, manner, Draws(0, CPU))))
        steps = speaker.speak(tokens, manner, Draws(0, CPU))
        for _ in range(count - 2):  # Bark is then generating fine codes
            next(steps)
    assert loops() == 1
    steps.close()
    assert loops() == 0
    assert not any(module._forward_pre_hooks for module in loading.model.modules())


@pytest.mark.filterwarnings("ignore:.max_length. is ignored")
def test_dia_speaks_as_it_draws_and_goes_on_in_the_voices_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_dia(tmp_path, length=120, loudness=1.5)
    speaker = loaded(folder)
    model, processor = DiaForConditionalGeneration.from_pretrained(folder).eval(), DiaProcessor.from_pretrained(folder)
    audio = {"delay_pattern": [0, 2, 3], "eos_token_id": 32, "pad_token_id": 33, "bos_token_id": 34}

    def own(seed: int, text: str, before: Tensor | None = None) -> Tensor:
        heard = None if before is None else torch.zeros(8 * len(before)).numpy()
        if before is not None:  # the sampled codes, not those that the codec would encode from their audio
            found = SimpleNamespace(audio_codes=before.T[None])
            monkeypatch.setattr(processor.audio_tokenizer, "encode", lambda _sound: found)
        inputs = processor(text, audio=heard, audio_kwargs=audio | {"sampling_rate": 800})
        torch.manual_seed(seed)
        codes = model.generate(**inputs, max_new_tokens=60)
        length = (
            None
            if before is None
            else processor.get_audio_prompt_len(inputs["decoder_attention_mask"], audio_kwargs=audio)
        )
        return processor.batch_decode(codes, audio_prompt_len=length, audio_kwargs=audio)[0]

    pieces, end = heard(speaker, speaker.read("[S2]hi"), Manner(), 13)
    assert_same(pieces, first := own(13, "[S2]hi"), 2)
    assert len(first) < 400, "it did not end by itself"
    assert not end.cut
    pieces, like = spoken(speaker, speaker.read("hi there"), Manner(), 9)
    assert_same(pieces, own(9, "[S1]hi there"), 2)
    assert like.tag == 1
    pieces, later = spoken(speaker, speaker.read("[S2]yo"), Manner(like=like), 8)
    assert_same(pieces, own(8, "[S1]hi there [S2]yo", like.codes), 2)
    pieces, _ = spoken(speaker, speaker.read("yo"), Manner(like=later), 11)
    assert_same(pieces, own(11, "[S1]hi there [S2]yo", like.codes), 1)


def test_dia_that_does_not_end_says_all_of_a_text(tmp_path: Path) -> None:
    speaker = loaded(write_dia(tmp_path, length=100))
    like = None
    for tokens in (speaker.read("hi"), speaker.read("yo"), speaker.read("no")):
        pieces, end = heard(speaker, tokens, Manner(like=like), 7)
        like = end.like
        assert len(torch.cat(pieces)) == 8 * 46
        assert end.cut
    assert len(like.codes) == 46


def test_dia_speaks_control_tokens_in_a_text_but_not_speaker_tags(tmp_path: Path) -> None:
    speaker = loaded(write_dia(tmp_path))
    assert speaker.read("[S2] a <pad>") == [2, *b" a <pad>"]
    assert speaker.read("\0a\1[S3]\2") == [*b"a[S3]"]
    assert [speaker.read(text) for text in ("", "[S1] ?![S2]", "\0")] == [[], [], []]


def test_windows_of_dac_are_the_whole_and_need_all_that_they_look_at(tmp_path: Path) -> None:
    codec = DacModel.from_pretrained(write_dia(tmp_path) / "codec").eval().double()
    codes = torch.randint(32, (300, 3))
    with torch.inference_mode():
        windows, whole = WindowedDac.of(codec), codec.decode(audio_codes=codes.T[None]).audio_values[0]
        assert (torch.cat(list(windows.pieces(codes))) - whole).abs().max() < 1e-12
        windows.reach -= 1
        assert (torch.cat(list(windows.pieces(codes))) - whole).abs().max() > 1e-12


def test_sentences_of_a_dialogue_are_said_together_as_far_as_it_reads() -> None:
    model: Any = SimpleNamespace(divides=True, joins=True, most_tokens=12, read=list)
    pieces = read_text(model, "Hi. Yes! Nobody said that. Ok. Oh.")
    assert ["".join(piece) for piece in pieces] == ["Hi. Yes!", "Nobody", "said", "that.", "Ok. Oh."]
    model.read, model.most_tokens = str.encode, 3
    assert read_text(model, "🌊a") == [b"\xf0\x9f\x8c\x8a", b"a"], "a character is refused later, and not cut"
