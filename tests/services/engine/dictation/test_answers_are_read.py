from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.dictation.dictation import Dictation
from services.engine.dictation.manner import Part, Written
from services.engine.language.languages import choose
from services.engine.language.prompting import PromptEncoder
from services.engine.multimodal.loading import load_multimodal_model
from tests.tiny import hearing_models as tiny
from tests.tiny import voxtral


@cache
def dictation(name: str) -> Dictation:
    with TemporaryDirectory() as folder:
        return load(tiny.write_checkpoint(Path(folder), name))


def load(folder: Path) -> Dictation:
    loaded = load_multimodal_model(Checkpoint(str(folder), torch.device("cpu")))
    assert loaded.media is not None
    return Dictation(loaded, loaded.media, PromptEncoder(loaded.tokenizer, loaded.context_tokens))


def test_a_language_is_told_before_the_text() -> None:
    read = dictation("qwen3_asr").manner.read
    assert read("language Portuguese<asr_text> Olá. ") == Written("Olá.", "pt")
    assert read("language None<asr_text>") == Written("")
    assert read("language Klingon<asr_text>nuq") == Written("nuq")
    assert read("Olá. ") == Written("Olá.")
    assert read("language Portu") == Written("language Portu")


def test_what_marks_an_answer_is_reserved_and_words_that_were_added_are_not() -> None:
    reserved = dictation("qwen3_asr").reserved
    assert "<asr_text>" in reserved
    assert "language English" not in reserved


def test_a_sentence_is_about_what_was_said() -> None:
    read = dictation("audioflamingo3").manner.read
    assert read("The content of the input audio is 'He left.'.") == Written("He left.")
    assert read(" He left ") == Written("He left")


def test_stretches_are_told_with_their_times() -> None:
    read = dictation("moss_transcribe_diarize").manner.read
    found = read("[0.50][S01]One. [1.25] [1.5][S02] Two.[1:02.5]")
    assert found == Written("One. Two.", parts=[Part("One.", 0.5, 1.25), Part("Two.", 1.5, 62.5)])
    assert read("[a][S01]One.[b] ") == Written("[a][S01]One.[b]")
    assert read(over := f"[{'1:' * 300}1][S01]One.[2]") == Written(over)
    assert read("One. ") == Written("One.")


def test_stretches_are_told_as_objects() -> None:
    read = dictation("vibevoice_asr").manner.read
    one = '{"Start":0,"End":1.25,"Speaker":0,"Content":"One \\"b\\"."}'
    two = '{"Start": 1.5, "End": 62.5, "Content": "Two."}'
    found = Written('One "b". Two.', parts=[Part('One "b".', 0, 1.25), Part("Two.", 1.5, 62.5)])
    assert read(f"assistant\n[{one},{two}]\n") == read(f"[{one}, {two}") == found
    assert read(f"[{one},{two[:-4]}") == Written('One "b". Tw')
    assert read(f'[{one},{{"Start":1,"Content":"a\\u00') == Written('One "b". a')
    assert read(f'[{one},{{"Sta') == Written('One "b".', parts=found.parts[:1])
    assert read('[{"Start":NaN,"End":1,"Content":"One."}]') == Written("One.")
    assert read(f'[{{"Start":{"1" * 400},"End":1,"Content":"One."}}]') == Written("One.")
    assert read('[{"Content":"One\\ud83d \\ud83d\\ude00"},{"Content":"\\ud83d').text == "One \U0001f600"
    assert read("[Music]") == Written("[Music]")
    assert read(" One. ") == Written("One.")
    assert read("[]").text == ""
    assert read(f"{'[' * 100_000}") == Written("[" * 100_000)


def test_languages_are_known_by_short_and_by_long_codes() -> None:
    """The code of Korean in Hangul does not match a model's code for Korean in both of its scripts."""
    languages = list(dictation("omniasr").manner.languages)
    assert languages == ["en", "ko", "eng_latn", "kor_hang"]
    assert choose("ko-KR", languages, field="") == "ko"
    assert choose("en-GB", languages, field="") == "en"


def test_granite_with_an_adapter_was_not_trained_with_words(tmp_path: Path) -> None:
    assert load(tiny.write_checkpoint(tmp_path, "granite_speech")).manner.takes_hotwords
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"has_lora_adapter": false', '"has_lora_adapter": true'))
    assert not load(tmp_path).manner.takes_hotwords


def test_the_window_is_as_long_as_fits_into_the_context() -> None:
    model = dictation("audioflamingo3")
    counts = {seconds: model.token_count(seconds) for seconds in (30, 15, 7.5)}
    assert model.fitting(30, counts[30]) == 30
    assert model.fitting(30, counts[30] - 1) == 15
    assert model.fitting(30, counts[7.5]) == 7.5
    with pytest.raises(ModelRefused, match=r"A second of sound .* comes to more than 3 tokens"):
        model.fitting(30, 3)


def test_models_without_a_transcription_prompt_are_refused(tmp_path: Path) -> None:
    folder = voxtral.write_checkpoint(tmp_path / "voxtral")
    tekken = folder / "tekken.json"
    tekken.write_text(tekken.read_text().replace("[TRANSCRIBE]", "<SPECIAL_34>"))
    with pytest.raises(ModelRefused, match=r"has no \[TRANSCRIBE\], which asks for a transcript"):
        load(folder)
    (tmp_path / "flamingo").mkdir()
    folder = tiny.write_checkpoint(tmp_path / "flamingo", "audioflamingo3")
    for file in folder.glob("chat_template*"):
        file.unlink()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelRefused, match="cannot be asked for a transcript"):
        load(folder)


def test_no_text_of_a_caller_may_begin_or_end_a_turn() -> None:
    """Control tokens that only the tokenizer's own file declares special are included."""
    own = dictation("qwen3_asr")
    assert {"<|system|>", "<|user|>", "<|assistant|>", "<end>", "<|audio_pad|>"} <= set(own.reserved)


def test_no_text_of_a_caller_may_tell_how_long_a_recording_lasts() -> None:
    assert "<|AUDIO_DURATION|>" in dictation("vibevoice_asr").reserved
