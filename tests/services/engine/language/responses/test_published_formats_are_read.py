"""Each format, as the published templates and models write it."""

import random

import pytest

from services.engine.language.responses.message import MessagePart
from tests.services.engine.language.responses.styles import FORMATS, LACKING, STYLES, calls_of, read

CITY = ("get_weather", {"city": 'São "Paulo" <ü> \\ 東京\n</b>', "days": 3, "exact": True, "near": ["a", "b"]})
TIME = ("get-time.now", {"city": "  5"})
NOW = ("get_weather", {})
with_calls = pytest.mark.parametrize("name", [name for name in FORMATS if STYLES[name].calls])
with_thinking = pytest.mark.parametrize("name", [name for name in FORMATS if STYLES[name].thinks])
every = pytest.mark.parametrize("name", FORMATS)


def test_every_format_has_a_style() -> None:
    assert FORMATS.keys() == STYLES.keys() - LACKING


@every
def test_a_plain_answer_is_content(name: str) -> None:
    style = STYLES[name]
    text = 'Hi <b>there</b>, 1 < 2 [x] {"a": 1} 🙂\n\n```json\n{}\n```'
    part = read(name, f"{style.content[0]}\n{text}\n", style.prompt, style.ending)
    assert (part.reasoning, part.content, part.tool_calls) == ("", text, ())


@with_thinking
def test_reasoning_comes_before_the_content(name: str) -> None:
    style = STYLES[name]
    (opens, closes), (begins, ends) = style.thinks, style.content
    text = f"{opens}I think. <x>\n\nSo.{closes}{begins}Hello.{ends}"
    part = read(name, text, style.prompt, style.ending)
    assert (part.reasoning, part.content, part.tool_calls) == ("I think. <x>\n\nSo.", "Hello.", ())


@with_thinking
def test_the_prompt_may_open_the_thinking(name: str) -> None:
    style = STYLES[name]
    (opens, closes), (begins, ends) = style.thinks, style.content
    part = read(name, f"I think.{closes}{begins}Hello.{ends}", style.prompt + opens, style.ending)
    assert (part.reasoning, part.content, part.tool_calls) == ("I think.", "Hello.", ())
    cut = read(name, "I think. \n", style.prompt + opens)
    assert (cut.reasoning, cut.content) == ("I think.", "")


@with_thinking
def test_the_prompt_may_leave_out_the_thinking(name: str) -> None:
    style = STYLES[name]
    part = read(name, f"\n{style.content[0]}Hello.", style.prompt + style.unthinking, style.ending)
    assert (part.reasoning, part.content, part.tool_calls) == ("", "Hello.", ())


@with_calls
@pytest.mark.parametrize("calls", [[CITY], [NOW], [CITY, TIME, NOW]], ids=["one", "no arguments", "several"])
def test_calls_are_read_with_their_arguments(name: str, calls: list[tuple[str, dict]]) -> None:
    style = STYLES[name]
    assert style.calls
    if name == "llama-3":
        calls = calls[:1]
    text = style.calls(calls)
    for dice in (None, random.Random(1), random.Random(2)):
        part = read(name, text, style.prompt, style.ending, dice=dice)
        assert calls_of(part) == calls
        assert (part.reasoning, part.content) == ("", "")


@pytest.mark.parametrize("name", [name for name in FORMATS if STYLES[name].calls and name != "llama-3"])
def test_content_and_reasoning_come_before_calls(name: str) -> None:
    style = STYLES[name]
    assert style.calls
    (opens, closes), (begins, ends) = style.thinks or ("", ""), style.content
    text = f"{opens}I think.{closes}{begins}I look it up.{ends}\n\n{style.calls([CITY, TIME])}"
    part = read(name, text, style.prompt, style.ending, dice=random.Random(7))
    assert (part.reasoning, part.content, calls_of(part)) == ("I think.", "I look it up.", [CITY, TIME])
    assert part.tool_calls[0].arguments_json.count("東京") == 1


@with_calls
def test_a_call_is_read_where_its_close_is_the_token_that_ends_the_output(name: str) -> None:
    style = STYLES[name]
    assert style.calls
    text = style.calls([CITY]).removesuffix("<|call|>").removesuffix("<|/tool_call|>")
    assert calls_of(read(name, text, style.prompt, style.ending)) == [CITY]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpt-oss", ' to=functions.f<|channel|>commentary <|constrain|>json<|message|>{"x":1}'),
        ("gpt-oss", '<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{"x":1}<|call|>'),
        ("gpt-oss", '<|channel|>commentary to=functions.f<|message|>{"x":1}'),
        ("gpt-oss", '<|channel|>analysis to=f code<|message|>{"x":1}'),
        ("llama-3", '<|python_tag|>{"name": "f", "parameters": {"x": 1}}<|eom_id|>'),
        ("llama-3", '\n{"type": "function", "name": "f", "parameters": {"x": "1"}}'),
        ("mistral", '[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"x": 1}'),
        ("qwen-3-coder", "<function=f>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>"),
        ("glm-4", "<tool_call>f<arg_key>x</arg_key><arg_value>1</arg_value></tool_call>"),
        ("phi-4-mini", '<|tool_call|>{"name": "f", "arguments": {"x": 1}}<|/tool_call|>'),
        ("phi-4-mini", 'functools[{"name": "f", "arguments": {"x": 1}}]'),
        ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>'),
        ("mistral-list", '[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}, "id": "abcdefghi"}]'),
    ],
)
def test_other_spellings_are_read(name: str, text: str) -> None:
    tools = [{"function": {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}}}}]
    part = read(name, text, STYLES[name].prompt, tools=tools)
    assert calls_of(part) == [("f", {"x": 1})]
    assert (part.reasoning, part.content) == ("", "")


def test_what_gpt_oss_tells_the_user_between_calls_is_content() -> None:
    text = "<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
    text += "<|start|>assistant<|channel|>analysis<|message|>Two.<|end|>"
    part = read("gpt-oss", f"{text}<|start|>assistant<|channel|>final <|constrain|>json<|message|>{{}}")
    assert (part.reasoning, part.content, part.tool_calls) == ("One.\nTwo.", "I look.\n{}", ())


def test_an_answer_of_llama_3_is_no_call_where_there_are_no_tools() -> None:
    text = '{"name": "f", "parameters": {"x": 1}}'
    assert read("llama-3", text, tools=[]) == MessagePart(content=text)
    marked = read("llama-3", f"<|python_tag|>{text}", tools=[])
    assert calls_of(marked) == [("f", {"x": 1})]


def test_granite_marks_its_response() -> None:
    part = read("granite-3", "<think>Hm.</think><response>Yes.</response>", ending="<|end_of_text|>")
    assert (part.reasoning, part.content) == ("Hm.", "Yes.")


def test_code_in_an_argument_keeps_its_indentation() -> None:
    text = (
        "<tool_call>\n<function=f>\n<parameter=code>\n    if x:\n        y\n\n</parameter>\n</function>\n</tool_call>"
    )
    assert calls_of(read("qwen-3-coder", text)) == [("f", {"code": "    if x:\n        y\n"})]
