import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from transformers import PreTrainedTokenizerFast

from sensorium.errors import InvalidArgument
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat, EncodedToken
from tests.services.engine.generation.vocabularies import byte_fallback
from tests.tiny.language_models import tokenizer as tiny_tokenizer

MESSAGES = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Wie geht's? 🌊"},
    {"role": "assistant", "content": "Gut, und"},
]
TOOL = {"type": "function", "function": {"name": "clock", "description": "Tells time.", "parameters": {}}}


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> PromptEncoder:
    return PromptEncoder(tokenizer, context_tokens=256)


def with_template(template: str | None, *, start: bool = False) -> PromptEncoder:
    own = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer, bos_token="<start>", eos_token="<end>"
    )
    own.chat_template = template
    return PromptEncoder(own, context_tokens=256)


def tokens_of(encoder: PromptEncoder, text: str, *, add_special_tokens: bool = False) -> list[EncodedToken]:
    tokens = encoder.encode_tokens(text, 1000, add_special_tokens=add_special_tokens)
    assert tokens is not None
    return list(tokens)


def field_of(error: pytest.ExceptionInfo[InvalidArgument]) -> str:
    (violation,) = error.value.violations
    return violation.field


@pytest.mark.parametrize("continue_last", [False, True])
def test_a_chat_is_what_the_tokenizer_makes_of_it(
    encoder: PromptEncoder, tokenizer: PreTrainedTokenizerFast, continue_last: bool
) -> None:
    messages = MESSAGES if continue_last else MESSAGES[:2]
    rendered = encoder.render(Chat(messages, [], continue_last))
    options = {"add_generation_prompt": not continue_last, "continue_final_message": continue_last}
    assert rendered == tokenizer.apply_chat_template(messages, tokenize=False, **options)
    ids = encoder.encode(rendered, field="chat", add_special_tokens=False)
    assert ids == tokenizer.apply_chat_template(messages, return_dict=False, **options)
    assert rendered.endswith("Gut, und" if continue_last else "<|assistant|>")


def test_tools_reach_the_template_and_are_refused_by_one_that_knows_none(encoder: PromptEncoder) -> None:
    template = "{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}{{ messages[0].content }}"
    assert with_template(template).render(Chat([{"role": "user", "content": "!"}], [TOOL], False)) == "clock!"
    with pytest.raises(InvalidArgument) as refused:
        encoder.render(Chat(MESSAGES, [TOOL], False))
    assert field_of(refused) == "chat.tools"


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ raise_exception('Roles must alternate.') }}",
        "{{ messages[0].no.such.thing }}",
        "{{ messages[0].content + 1 }}",
        "{% if %}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_template_that_refuses_is_the_requests_fault(template: str | None) -> None:
    with pytest.raises(InvalidArgument) as refused:
        with_template(template).render(Chat(MESSAGES, [], False))
    assert field_of(refused) == "chat"


def test_a_prompt_gets_special_tokens_only_where_asked_for() -> None:
    from tokenizers.processors import TemplateProcessing

    own = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer, bos_token="<start>")
    own.backend_tokenizer.post_processor = TemplateProcessing(single="<start> $A", special_tokens=[("<start>", 1)])
    encoder = PromptEncoder(own, context_tokens=256)
    bare = tiny_tokenizer()("hi")["input_ids"]
    assert encoder.encode("hi", field="prompt") == [1, *bare]
    assert encoder.encode("hi", field="prompt", add_special_tokens=False) == bare
    first = tokens_of(encoder, "hi", add_special_tokens=True)[0]
    assert first == EncodedToken(1, "<start>", special=True, start=0, end=0)


def test_offsets_count_code_points(encoder: PromptEncoder) -> None:
    text = "Tänze 東京🌊 x"
    tokens = tokens_of(encoder, text)
    assert [token.id for token in tokens] == encoder.encode(text, field="texts[0]")
    assert tokens[-1].end == len(text)
    wave = [token for token in tokens if text[token.start : token.end] == "🌊"]
    assert wave
    assert {(token.start, token.end) for token in wave} == {(8, 9)}
    assert not any(token.special for token in tokens)


def test_offsets_are_absent_where_the_tokenizer_keeps_none() -> None:
    class Slow:
        is_fast = False
        all_special_ids = (0,)
        added_tokens_decoder: ClassVar[dict[int, str]] = {}
        unk_token_id = None
        chat_template = None

        def get_vocab(self) -> dict[str, int]:
            return {"<s>": 0, "a": 1}

        def __call__(self, text: str, **options: bool) -> dict[str, list[int]]:
            assert not options["return_offsets_mapping"]
            return {"input_ids": [0, *[1] * len(text)]}

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [["<s>", "a"][token_id] for token_id in ids]

    tokens = tokens_of(PromptEncoder(Slow(), 8), "a", add_special_tokens=True)  # type: ignore[arg-type]
    assert tokens == [EncodedToken(0, "<s>", True, None, None), EncodedToken(1, "a", False, None, None)]


def test_special_tokens_are_decoded_or_left_out(encoder: PromptEncoder) -> None:
    ids = encoder.encode("hi<end>", field="prompt")
    assert encoder.decode(ids, skip_special_tokens=False) == "hi<end>"
    assert encoder.decode(ids, skip_special_tokens=True) == "hi"
    assert encoder.decode([], skip_special_tokens=True) == ""


def test_a_text_too_long_for_any_tokens_is_refused_untouched(tokenizer: PreTrainedTokenizerFast) -> None:
    class Watched(PreTrainedTokenizerFast):
        calls = 0

        def __call__(self, *args: object, **options: object) -> object:
            Watched.calls += 1
            return super().__call__(*args, **options)

    encoder = PromptEncoder(Watched(tokenizer_object=tokenizer.backend_tokenizer), context_tokens=4)
    longest = max(map(len, tokenizer.get_vocab()))
    encoder.encode("x" * (4 * longest), field="prompt")
    assert Watched.calls == 1
    with pytest.raises(InvalidArgument) as refused:
        encoder.encode("x" * (4 * longest + 1), field="prompt")
    assert field_of(refused) == "prompt"
    assert Watched.calls == 1


def test_no_more_tokens_are_told_than_are_wanted(encoder: PromptEncoder) -> None:
    count = len(tokens_of(encoder, "Tänze"))
    assert encoder.encode_tokens("Tänze", count - 1, add_special_tokens=False) is None


def test_many_threads_encode_and_decode_texts_of_different_lengths_at_once(encoder: PromptEncoder) -> None:
    generator = random.Random(1)
    texts = ["".join(generator.choices("aé東🌊 x", k=generator.randint(0, 200))) for _ in range(400)]
    expected = [encoder.encode(text, field="prompt") for text in texts]

    def both(text: str) -> tuple[list[int], list[EncodedToken], str]:
        ids = encoder.encode(text, field="prompt")
        tokens = tokens_of(encoder, text)
        return ids, tokens, encoder.decode(ids, skip_special_tokens=True)

    with ThreadPoolExecutor(8) as pool:
        for text, ids, got in zip(texts, expected, pool.map(both, texts), strict=True):
            assert got[0] == ids == [token.id for token in got[1]]
            assert got[2] == text


@pytest.mark.parametrize("vocabulary", [tiny_tokenizer, byte_fallback])
def test_the_longest_texts_of_tokens_are_found(vocabulary: Callable[[], PreTrainedTokenizerFast]) -> None:
    own = vocabulary()
    texts = [own.decode([i], skip_special_tokens=False, clean_up_tokenization_spaces=False) for i in range(len(own))]
    expected = sorted((len(text.encode()) for text in texts), reverse=True)
    for count in (0, 1, 20, len(own), len(own) + 5):
        assert PromptEncoder(own, context_tokens=9).longest_texts(count) == expected[:count]
