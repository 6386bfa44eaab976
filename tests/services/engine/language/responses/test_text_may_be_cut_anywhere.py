"""What is read does not depend on how the text comes; and nothing of it raises or is lost."""

import random

import pytest
import regex

from services.engine.language.responses import reader as readers
from services.engine.language.responses.delimiters import Delimiter, Mark
from services.engine.language.responses.message import MessagePart
from tests.services.engine.language.responses.styles import FORMATS, STYLES, TOOLS, read

COUNT = 10
SCRAPS = [*"<>[]{}|\"'\\/=:, \n\t\0\x01\x02\ud800é｜▁", "\n\n  \n", "NaN", "think", "to=functions.f", "null", "}" * 9]
SCRAPS += ['{"name": "f", "arguments": {"x": 1}}', '[{"name": "f", "parameters": {}}]', "[f(x=1)]", '{"a": Infinity}']


def scraps(name: str) -> list[str]:
    """Returns the marks of a format, whole and in part, and other scraps."""
    style = STYLES[name]
    call = ("get_weather", {"city": "x", "days": 3})
    whole = [style.ending, *style.content, *(style.thinks or ()), *([style.calls([call])] if style.calls else [])]
    marks = [mark for text in whole for mark in (text, text[: len(text) // 2], text[:-1], text[1:]) if mark]
    return SCRAPS + 3 * marks


@pytest.mark.parametrize("name", FORMATS)
def test_any_cuts_give_the_same(name: str) -> None:
    dice = random.Random(name)
    known = scraps(name)
    for _ in range(COUNT):
        text = "".join(dice.choices(known, k=dice.randint(1, 14)))
        prompt = STYLES[name].prompt + "".join(dice.choices([""] * 20 + known, k=2))
        ending = dice.choice(["", STYLES[name].ending, "<unheard of>"])
        whole = read(name, text, prompt, ending)
        for _ in range(2):
            assert read(name, text, prompt, ending, dice=dice) == whole, (prompt, text, ending)


@pytest.mark.parametrize("name", FORMATS)
def test_a_fork_goes_on_by_itself(name: str) -> None:
    dice = random.Random(name)
    known = scraps(name)
    for _ in range(COUNT):
        pieces = dice.choices(known, k=9)
        whole, forked = (FORMATS[name].reader(STYLES[name].prompt, TOOLS, "k") for _ in range(2))
        for piece in pieces[:5]:
            assert whole.push(piece) == forked.push(piece)
        twin, other = forked.fork("k"), forked.fork("other")
        forked.push("".join(known))
        said = [whole.push(piece) for piece in pieces[5:]]
        assert [twin.push(piece) for piece in pieces[5:]] == said
        others = [other.push(piece) for piece in pieces[5:]]
        assert [(part.content, part.reasoning) for part in others] == [(part.content, part.reasoning) for part in said]
        assert twin.close() == whole.close()


def test_others_have_their_turn_while_a_prompt_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[None] = []
    monkeypatch.setattr(readers, "give_way", lambda: turns.append(None))
    begun = FORMATS["hermes"].reader("<|im_start|>assistant\n" + "<" * 5_000, TOOLS, "k")
    assert len(turns) >= 5
    assert begun.fork("j").push("x").content == "x"
    assert len(turns) < 20


def test_content_between_calls_and_thoughts_is_put_together() -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    text = f" One\n\n{call}\ntwo <think> a</think>\n{call}\n\nthree<think>\nb\n</think>\n"
    part = read("hermes", text, dice=random.Random(1))
    assert (part.content, part.reasoning, len(part.tool_calls)) == ("One\n\n\ntwo \n\n\nthree", "a\nb", 2)


@pytest.mark.parametrize(
    "call",
    [
        "<tool_call>{not json}</tool_call>",
        '<tool_call>\n{"name": 5, "arguments": {}}\n</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": []}</tool_call>',
        '<tool_call>{"name": "f", "arguments": null}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "{\\"x\\": -Infinity}"}</tool_call>',
        f'<tool_call>{{"name": "f", "arguments": {{"x": {"9" * 5_000}}}}}</tool_call>',
        f'<tool_call>{{"name": "f", "arguments": {{"x": {"[" * 10_000}{"]" * 10_000}}}}}</tool_call>',
        f'<tool_call>{{"name": "f", "arguments": {{"x": {"[" * 900}{"]" * 900}}}}}</tool_call>'[:-20],
        "<tool_call>get_weather</tool_call>",
        "<tool_call>",
        '<tool_call>{"name": "f", "arguments": {"x":',
        '<tool_call>{"name": "f", "arguments": {}}</tool_',
    ],
    ids=lambda call: call[:60],
)
def test_what_is_no_call_is_content(call: str) -> None:
    text = f"See: {call}"
    for dice in (None, random.Random(3))[: 1 if len(text) > 1_000 else 2]:
        assert read("hermes", text, ending="<|im_end|>", dice=dice) == MessagePart(content=text)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("qwen-3-coder", "<tool_call><function=f><parameter=a>1</parameter><parameter=b>cut sho"),
        ("qwen-3-coder", "<tool_call><function=f><parameter=a>1</parameter></function>"),
        ("qwen-3-coder", "<tool_call><function=f>x<parameter=a>1</parameter></function></tool_call>"),
        ("qwen-3-coder", "<tool_call><function=f><parameter=a>1</function></tool_call>"),
        ("glm-4", "<tool_call>f<arg_key>a</arg_key></tool_call>"),
        ("kimi-k2", "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>[]<|tool_call_end|>"),
        ("mistral-list", "[TOOL_CALLS] []"),
        ("mistral-list", '[TOOL_CALLS] [{"name": "f", "arguments": {}}, 5]'),
        ("gemma-4", "<|tool_call>call:f{x:\x01}<tool_call|>"),
        ("llama-3", '{"name": "Ada"}'),
        ("llama-3", '{"name": "f", "parameters": {}} and more'),
    ],
)
def test_a_call_that_is_cut_or_holds_more_is_content(name: str, call: str) -> None:
    assert read(name, call) == MessagePart(content=call)


def test_half_a_surrogate_pair_in_an_argument_stays_escaped() -> None:
    call = '<tool_call>{"name": "f", "arguments": {"x": "é\\ud800"}}</tool_call>'
    assert read("hermes", call).tool_calls[0].arguments_json == '{"x": "\\u00e9\\ud800"}'


def test_text_is_given_as_soon_as_it_is_certain() -> None:
    reader = FORMATS["hermes"].reader("", [], "")
    said = [reader.push(text).content for text in ("a", " ", "b", "<tool", "_cal", "x", " <", "i", "<tool_call>", "{")]
    assert said == ["a", "", " b", "", "", "<tool_calx", "", " <i", "", ""]
    reader = FORMATS["hermes"].reader("", [], "")
    assert [reader.push(text).content for text in ("<tool_call>", "\n", "x")] == ["", "", "<tool_call>\nx"]


def test_a_delimiter_that_only_the_end_of_the_text_makes_one_waits_for_it() -> None:
    delimiter = Delimiter("content", opens=False, pattern=regex.compile(r"x(?=y\Z)"), literals=None)
    assert delimiter.judge("xyz", 0, 2, final=False) == (False, Mark(1, {}))
    assert delimiter.judge("xyz", 0, 3, final=False) == (True, None)
    assert delimiter.judge("xy", 0, 2, final=True) == (True, Mark(1, {}))


def test_the_token_that_ends_the_output_is_no_text() -> None:
    assert read("hermes", "Hi <tool", ending="<unheard of>").content == "Hi <tool"
    assert read("hermes", "<think>Hm", ending="<unheard of>") == MessagePart(reasoning="Hm")
    assert not read("hermes", "", ending="<unheard of>")


def test_what_the_prompt_has_begun_is_not_said_again() -> None:
    prompt = "<|im_start|>assistant\n"
    assert read("hermes", " there", f"{prompt}<think>x</think>Hello ").content == " there"
    assert read("hermes", "<x", f"{prompt}Hello <tool").content == "<x"
    begun = f'{prompt}<tool_call>{{"name": "f", "argum'
    assert read("hermes", 'ents": {"x": 1}}</tool_call>', begun).tool_calls[0].arguments_json == '{"x": 1}'
    assert read("hermes", "!</tool_call> Oh", begun).content == "!</tool_call> Oh"
    half = f'{prompt}<tool_call>{{"name": "f", "arguments": {{"x": "</'
    assert read("hermes", 'b>"}}</tool_call>', half).tool_calls[0].arguments_json == '{"x": "</b>"}'
    assert read("hermes", "b>!</tool_call>", half).content == "b>!</tool_call>"
    assert read("hermes", "Hi", f"{prompt}<think>x</think>{prompt}").content == "Hi"
    assert read("hermes", "Hi", "<think> a user's prompt without a mark of the assistant").content == "Hi"
