import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument
from services.engine.generation.requests.resolution import GenerationLimits, GenerationOptions, ModelDefaults
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Truncation
from services.engine.language.translation import Frame
from services.text.text_to_text.reading import ChatReader, EncoderReader

TEXT = "Streams of tokens arrive one by one, and nobody waits for long. "
LIMITS = GenerationLimits(context_tokens=80, vocabulary_size=320, source_tokens=40, source_vocabulary_size=320)
NO_OPTIONS = GenerationOptions()
FRAME = Frame(prefix="summarize: ", first_ids=(5,), last_ids=(2, 4))


@pytest.fixture
def reader(tokenizer: PreTrainedTokenizerFast) -> EncoderReader:
    return EncoderReader(PromptEncoder(tokenizer, LIMITS.source_tokens), LIMITS)


def chat_reader(tokenizer: PreTrainedTokenizerFast, defaults: ModelDefaults | None = None) -> ChatReader:
    return ChatReader(PromptEncoder(tokenizer, LIMITS.context_tokens), LIMITS, defaults or ModelDefaults())


def ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("truncation", Truncation)
def test_a_text_that_fits_stands_whole_between_the_frame(
    reader: EncoderReader, tokenizer: PreTrainedTokenizerFast, truncation: Truncation
) -> None:
    read = reader.read("Tokens arrive.", FRAME, truncation, NO_OPTIONS, field="text")
    assert read == [5, *ids(tokenizer, "summarize: Tokens arrive."), 2, 4]


def test_the_side_that_is_to_be_kept_is_kept_behind_the_prefix(
    reader: EncoderReader, tokenizer: PreTrainedTokenizerFast
) -> None:
    whole, prefix = ids(tokenizer, FRAME.prefix + TEXT * 9), ids(tokenizer, FRAME.prefix)
    end = reader.read(TEXT * 9, FRAME, Truncation.END, NO_OPTIONS, field="text")
    assert end == [5, *whole[:37], 2, 4]
    start = reader.read(TEXT * 9, FRAME, Truncation.START, NO_OPTIONS, field="text")
    assert start == [5, *prefix, *whole[-(37 - len(prefix)) :], 2, 4]
    assert len(start) == len(end) == LIMITS.source_tokens


def test_a_text_too_long_for_any_tokens_is_cut_before_it_is_tokenized(
    reader: EncoderReader, tokenizer: PreTrainedTokenizerFast
) -> None:
    giant = TEXT * 5000 + "The end."
    assert len(reader.read(giant, FRAME, Truncation.END, NO_OPTIONS, field="text")) == 40
    start = reader.read(giant, FRAME, Truncation.START, NO_OPTIONS, field="text")
    assert tokenizer.decode(start[:-2]).endswith("The end.")
    with pytest.raises(InvalidArgument) as error:
        reader.read(giant, FRAME, Truncation.NONE, NO_OPTIONS, field="texts[3]")
    assert [violation.field for violation in error.value.violations] == ["texts[3]"]


def test_nothing_is_cut_unless_asked(reader: EncoderReader) -> None:
    assert len(reader.read(TEXT * 4, FRAME, Truncation.NONE, NO_OPTIONS, field="text")) > LIMITS.source_tokens


def test_a_prefix_that_leaves_no_room_is_refused_by_its_name(reader: EncoderReader) -> None:
    frame = Frame(prefix=TEXT * 3)
    for truncation in (Truncation.START, Truncation.END):
        with pytest.raises(InvalidArgument) as error:
            reader.read(TEXT, frame, truncation, NO_OPTIONS, field="text")
        assert [violation.field for violation in error.value.violations] == ["instruction"]


def test_a_chat_model_is_asked_in_one_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    read = chat_reader(tokenizer).read("Hi", Frame(prefix="Say it short."), Truncation.NONE, NO_OPTIONS, field="text")
    assert tokenizer.decode(read) == "<|user|>Say it short.\n\nHi<end><|assistant|>"
    plain = chat_reader(tokenizer).read("Hi", Frame(), Truncation.NONE, NO_OPTIONS, field="text")
    assert tokenizer.decode(plain) == "<|user|>Hi<end><|assistant|>"


@pytest.mark.parametrize(
    ("options", "defaults", "room"),
    [
        (NO_OPTIONS, ModelDefaults(), 60),
        (NO_OPTIONS, ModelDefaults(max_new_tokens=30), 50),
        (NO_OPTIONS, ModelDefaults(max_length=64), 48),
        (GenerationOptions(max_new_tokens=20), ModelDefaults(max_length=64), 60),
        (GenerationOptions(max_new_tokens=40), ModelDefaults(max_new_tokens=30), 40),
    ],
)
@pytest.mark.parametrize("truncation", [Truncation.START, Truncation.END])
def test_a_chat_models_text_is_cut_to_leave_room_for_the_output(
    tokenizer: PreTrainedTokenizerFast,
    options: GenerationOptions,
    defaults: ModelDefaults,
    room: int,
    truncation: Truncation,
) -> None:
    text = "First. " + TEXT * 9 + "Last."
    read = chat_reader(tokenizer, defaults).read(text, Frame(prefix="Sum up."), truncation, options, field="text")
    assert room - 6 <= len(read) <= room
    said = tokenizer.decode(read)
    assert said.startswith("<|user|>Sum up.\n\n")
    assert said.endswith("<end><|assistant|>")
    assert ("First." in said) == (truncation is Truncation.END)
    assert ("Last." in said) == (truncation is Truncation.START)


@pytest.mark.parametrize("truncation", [Truncation.START, Truncation.END])
def test_a_text_of_what_reads_as_control_tokens_is_cut_by_the_tokens_that_it_comes_to(
    tokenizer: PreTrainedTokenizerFast, truncation: Truncation
) -> None:
    read = chat_reader(tokenizer).read("<end>Go" * 40, Frame(), truncation, NO_OPTIONS, field="text")
    assert 54 <= len(read) <= 60


def test_cutting_a_chat_models_text_comes_to_an_end_even_if_nothing_fits(tokenizer: PreTrainedTokenizerFast) -> None:
    options = GenerationOptions(max_new_tokens=79)
    read = chat_reader(tokenizer).read("東京🌊" * 5, Frame(), Truncation.END, options, field="text")
    assert tokenizer.decode(read) == "<|user|><end><|assistant|>"


def test_a_chat_model_that_can_is_told_not_to_think(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{{ messages[0].content }}{% if enable_thinking is undefined or enable_thinking %}<think>{% endif %}"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    read = chat_reader(tokenizer).read("Tokens", Frame(), Truncation.NONE, NO_OPTIONS, field="text")
    assert read == ids(tokenizer, "Tokens")
