"""Concatenated windows equal the audio that transformers' own models make of a whole sentence, with the same draws."""

import gc
import json
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    MusicgenForConditionalGeneration,
    MusicgenMelodyForConditionalGeneration,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    T5Tokenizer,
    VitsModel,
)

from services.engine.checkpoint import Checkpoint
from services.engine.speech_synthesis.draws import Draws, key_of
from services.engine.speech_synthesis.loading import SpeakerParts, load_speaker
from services.engine.speech_synthesis.model import Manner, SpeakingModel
from services.engine.speech_synthesis.musicgen import MusicGen
from services.engine.speech_synthesis.own_loop import handed_over, in_turns
from services.engine.speech_synthesis.speecht5 import SpeechT5
from services.engine.speech_synthesis.turns import Turns
from services.engine.speech_synthesis.vits import Vits
from services.engine.speech_synthesis.vocoder import WindowedVocoder
from tests.services.engine.speech_synthesis import codes
from tests.tiny.speakers import WIDTH, write_musicgen, write_speecht5, write_vits

TEXT = "the quick brown fox jumps over the lazy dog"
VOICE = [0.3, -1.0, 2.0, 0.1, 0.0, 1.0]
CPU = torch.device("cpu")


def spoken(speaker: SpeakingModel, tokens: Sequence[int], manner: Manner, seed: int = 7) -> list[Tensor]:
    return codes.spoken(speaker, tokens, manner, seed)[0]


def assert_same(pieces: list[Tensor], expected: Tensor, fewest: int) -> None:
    assert len(pieces) >= fewest, "it came in one piece"
    assert expected.std() > 1e-3, "there is nothing to hear"
    torch.testing.assert_close(torch.cat(pieces), expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "voice", "rate"),
    [
        ({}, None, 1.0),
        ({"speaking_rate": 0.8}, None, 0.5),
        ({"num_speakers": 3}, 2, 1.0),
        ({"use_stochastic_duration_prediction": False}, None, 1.0),
    ],
)
def test_vits(tmp_path: Path, changes: dict[str, Any], voice: int | None, rate: float) -> None:
    folder = write_vits(tmp_path, **changes)
    model, tokenizer = VitsModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    speaker = Vits(model, tokenizer)
    torch.manual_seed(7)
    own_rate = changes.get("speaking_rate", 1.0)
    with torch.inference_mode():
        inputs = tokenizer(TEXT, return_tensors="pt")
        expected = model(**inputs, speaker_id=voice, speaking_rate=own_rate * rate).waveform[0]
    assert_same(spoken(speaker, speaker.read(TEXT), Manner(voice, rate=rate)), expected, 2)
    assert isinstance(model.decoder, torch.nn.Module)
    with torch.inference_mode():  # the model itself is unchanged
        torch.manual_seed(7)
        assert torch.equal(model(**inputs, speaker_id=voice, speaking_rate=own_rate * rate).waveform[0], expected)


@pytest.mark.parametrize(("bias", "fewest"), [(-4.0, 3), (-0.9, 1)])
def test_speecht5(tmp_path: Path, bias: float, fewest: int) -> None:
    """One sentence runs to the length limit, and one ends by its stop token."""
    folder = write_speecht5(tmp_path, stop_bias=bias)
    model, tokenizer = SpeechT5ForTextToSpeech.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    vocoder = SpeechT5HifiGan.from_pretrained(folder / "vocoder").eval()
    speaker = SpeechT5(model, vocoder, tokenizer, {})
    tokens = speaker.read("fox")
    model.config.pad_token_id = tokens[1]  # a letter of the text is none the less read
    torch.manual_seed(7)
    ids = torch.tensor([tokens])
    expected = model.generate_speech(ids, torch.tensor([VOICE]), torch.ones_like(ids), vocoder=vocoder)
    most = len(tokens) * 20 * speaker._vocoder.samples_per_frame
    assert (len(expected) == most) == (bias == -4.0)
    pieces, end = codes.heard(speaker, tokens, Manner(embedding=VOICE), 7)
    assert_same(pieces, expected, fewest)
    assert end.cut == (bias == -4.0)
    named = SpeechT5(model, vocoder, tokenizer, {"anna": [1.0] * WIDTH, "bert": VOICE})
    assert torch.equal(torch.cat(spoken(named, tokens, Manner(1))), torch.cat(pieces))


def test_reach_is_what_a_frame_depends_on_and_no_more(tmp_path: Path) -> None:
    decoder = VitsModel.from_pretrained(write_vits(tmp_path)).eval().double().decoder
    frames = torch.randn(300, 8, dtype=torch.float64)
    with torch.inference_mode():
        vocoder = WindowedVocoder(decoder, lambda part: decoder(part.T[None])[0, 0])
        whole = decoder(frames.T[None])[0, 0]
        assert (torch.cat(list(vocoder.pieces(frames))) - whole).abs().max() < 1e-12
        vocoder.reach -= 1
        assert (torch.cat(list(vocoder.pieces(frames))) - whole).abs().max() > 1e-6


def test_a_vocoder_whose_frames_have_not_equally_many_samples_has_one_window(tmp_path: Path) -> None:
    folder = write_vits(tmp_path, upsample_rates=[5, 4], upsample_kernel_sizes=[8, 8])
    decoder = VitsModel.from_pretrained(folder).eval().decoder
    frames = torch.randn(200, 8)
    with torch.inference_mode():
        pieces = list(WindowedVocoder(decoder, lambda part: decoder(part.T[None])[0, 0]).pieces(frames))
        assert torch.equal(*pieces, decoder(frames.T[None])[0, 0])


def test_draws_of_two_sentences_do_not_touch_each_other(tmp_path: Path) -> None:
    """Interleaved steps of another request, and other draws, change nothing."""
    folder = write_speecht5(tmp_path)
    model, tokenizer = SpeechT5ForTextToSpeech.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    speaker = SpeechT5(model, SpeechT5HifiGan.from_pretrained(folder / "vocoder").eval(), tokenizer, {})
    manner = Manner(embedding=VOICE)
    asked = [(speaker.read("ox"), key_of(3, 0)), (speaker.read("dog"), key_of(3, 1))]
    alone = [torch.cat(spoken(speaker, tokens, manner, key)) for tokens, key in asked]
    running = [speaker.speak(tokens, manner, Draws(key, CPU)) for tokens, key in asked]
    heard: list[list[Tensor]] = [[], []]
    with torch.inference_mode():
        while running_now := [i for i, steps in enumerate(running) if steps is not None]:
            for i in running_now:
                torch.randn(5)
                piece = next(running[i], "over")  # type: ignore[arg-type]
                if isinstance(piece, str):
                    running[i] = None  # type: ignore[call-overload]
                elif piece is not None:
                    heard[i].append(piece)
    assert all(torch.equal(torch.cat(found), expected) for found, expected in zip(heard, alone, strict=True))
    assert key_of(3, 0) == 3
    assert not torch.equal(torch.cat(spoken(speaker, asked[0][0], manner, key_of(3, 1))), alone[0])


def test_what_cannot_be_said_has_no_tokens(tmp_path: Path) -> None:
    vits = write_vits(tmp_path / "vits")
    speaker = Vits(VitsModel.from_pretrained(vits), AutoTokenizer.from_pretrained(vits))
    assert [bool(speaker.read(text)) for text in ("日本", "12 34!", "", " ", "ok")] == [False] * 4 + [True]
    assert speaker.read("a日b") == speaker.read("ab"), "what it does not know is left out"
    folder = write_speecht5(tmp_path / "speecht5")
    model, tokenizer = SpeechT5ForTextToSpeech.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    other = SpeechT5(model, SpeechT5HifiGan.from_pretrained(folder / "vocoder"), tokenizer, {})
    assert [bool(other.read(text)) for text in ("日本", "", " ", "ok")] == [False] * 3 + [True]


def test_control_tokens_in_a_text_are_spoken(tmp_path: Path) -> None:
    folder = write_speecht5(tmp_path)
    model, tokenizer = SpeechT5ForTextToSpeech.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    other = SpeechT5(model, SpeechT5HifiGan.from_pretrained(folder / "vocoder"), tokenizer, {})
    assert other.read("a <pad>")[:-1] == [*other.read("a _")[:-2], *other.read("_pad_")[1:-1]]


def test_control_tokens_in_a_description_are_text(tmp_path: Path) -> None:
    """T5's vocabulary of pieces contains its control tokens."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abs/>"]
    reader = T5Tokenizer(vocab=[(piece, -float(i > 2)) for i, piece in enumerate(pieces)], extra_ids=1)
    model = MusicgenForConditionalGeneration.from_pretrained(write_musicgen(tmp_path))
    speaker = MusicGen(model, reader)
    unknown, space, a, b, s, slash, end = range(2, 9)
    assert speaker.read("a b") == [space, a, space, b, 1]
    assert speaker.read("a </s>b") == [space, a, space, unknown, slash, s, end, b, 1]
    assert not {0, reader.convert_tokens_to_ids("<extra_id_0>")} & {*speaker.read("<pad> a<extra_id_0>")}
    assert speaker.read("") == []


def test_musicgen_makes_one_sound_whatever_its_files_say(tmp_path: Path) -> None:
    folder = write_musicgen(tmp_path, new_tokens=16)
    own = json.loads((folder / "generation_config.json").read_text())
    sounds: list[Tensor] = []
    for odd in ({}, {"num_return_sequences": 2, "return_dict_in_generate": True}):
        (folder / "generation_config.json").write_text(json.dumps(own | odd))
        speaker = load_speaker(Checkpoint(str(folder), CPU), SpeakerParts()).speaker
        (sound,), end = codes.heard(speaker, speaker.read("drums"), Manner(), 7)
        sounds.append(sound)
        assert end.cut, "it is as long as its files allow"
    assert torch.equal(*sounds)


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default:UserWarning")
@pytest.mark.parametrize("kind", [MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration])
def test_musicgen(tmp_path: Path, kind: Any) -> None:
    """Draws of others between the steps of the library's own loop change nothing."""
    folder = write_musicgen(tmp_path, melody=kind is MusicgenMelodyForConditionalGeneration)
    model, reader = kind.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    speaker = load_speaker(Checkpoint(str(folder), CPU), SpeakerParts()).speaker
    tokens = speaker.read("drums and a flute")
    torch.manual_seed(7)
    with torch.inference_mode():
        expected = model.generate(**reader("drums and a flute", return_tensors="pt"))[0, 0]
    assert expected.std() > 1e-3
    for _ in range(2):
        steps = []
        for piece in speaker.speak(tokens, Manner(), Draws(7, CPU)):
            torch.randn(3)
            steps.append(piece)
        assert [step is None for step in steps] == [True] * 5 + [False]
        assert torch.equal(steps[-1], expected)


def test_leaving_ends_a_loop_of_the_librarys(tmp_path: Path, loops: Callable[[], int]) -> None:
    folder = write_musicgen(tmp_path, new_tokens=100_000)
    model = MusicgenForConditionalGeneration.from_pretrained(folder).eval()
    speaker = MusicGen(model, AutoTokenizer.from_pretrained(folder))
    steps = speaker.speak(speaker.read("drums"), Manner(), Draws(0, CPU))
    assert [next(steps) for _ in range(3)] == [None] * 3
    assert loops() == 1
    steps.close()
    assert loops() == 0


def test_a_loop_goes_on_when_one_that_began_later_ends_within_its_step() -> None:
    model = torch.nn.Module()
    model.forward = lambda frames: None

    def loop(steps: int) -> Generator[None, None, list[float]]:
        seen: list[float] = []

        def work(pause: Callable[[], None]) -> list[float]:
            def put(frame: Tensor) -> None:
                seen.append(float(frame))
                pause()

            with handed_over(model, "frames", put):
                for step in range(steps):
                    model(frames=torch.full((1, 1), step))
            return seen

        return (yield from in_turns(work, Draws(0, CPU)))

    first, second = loop(3), loop(1)
    assert next(first) is next(second) is next(first) is None
    assert list(second) == []
    with pytest.raises(StopIteration) as end:
        while True:
            next(first)
    assert end.value.value == [0, 1, 2]


def test_what_fails_in_a_turn_fails_where_it_is_waited_for() -> None:
    def fail(pause: Callable[[], None]) -> int:
        pause()
        raise ValueError("no")

    turns = iter(Turns(fail))
    assert next(turns) is None
    with pytest.raises(ValueError, match="no"):
        next(turns)


class _Held:
    """An object that the function holds."""


@pytest.mark.parametrize("fails", [False, True])
def test_an_abandoned_or_failed_function_is_freed_at_once(*, fails: bool) -> None:
    """For a model this may be all of its hidden states, which a GPU would hold until Python's cycle collector runs."""
    known: list[weakref.ref[_Held]] = []

    def work(pause: Callable[[], None]) -> None:
        held = _Held()
        known.append(weakref.ref(held))
        pause()
        if fails:
            raise ValueError
        pause()

    turns = iter(Turns(work))
    assert next(turns) is None
    gc.disable()
    try:
        if fails:
            with suppress(ValueError):
                next(turns)
        turns.close()
        assert known[0]() is None
    finally:
        gc.enable()
