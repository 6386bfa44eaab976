"""The library reads whole messages; where nothing is malformed and no field comes twice, both read the same."""

import json
import random
from typing import Any

import pytest
from transformers.utils.chat_parsing.response_parser import ResponseParser, _coerce, _schema_types

from services.engine.language.responses.formats import ResponseFormat
from services.engine.language.responses.typed_arguments import ToolTypes
from tests.services.engine.language.responses.styles import FORMATS, STYLES, TEMPLATES, TOOLS, Style, calls_of, read

WORDS = [
    "Hi",
    " ",
    "\n",
    "\n\n",
    "<",
    "<b>",
    "</",
    "a < b",
    "é",
    "東京",
    "🙂",
    "[",
    "]",
    "{",
    "}",
    '"',
    "`",
    "```",
    "|",
    "x=1",
]
COUNT = 20
reads_whole_floats = _coerce("3.0", ("integer",)) == 3


def some_text(dice: random.Random) -> str:
    return "".join(dice.choices(WORDS, k=dice.randint(0, 12)))


def some_value(dice: random.Random, key: str) -> Any:
    values = {"city": some_text(dice), "days": dice.randint(-9, 99), "exact": dice.random() < 0.5, "near": ["a", ["b"]]}
    return values[key]


def some_message(style: Style, dice: random.Random, *, alone: bool) -> tuple[str, str]:
    """Returns the end of a prompt, and a text; `alone`: its calls are a whole message."""
    prompt, text = style.prompt, ""
    opens, closes = style.thinks or ("", "")
    thinks = style.thinks and dice.random() < 0.6
    if thinks:
        opened = dice.random() < 0.4
        prompt += opens if opened else ""
        text += f"{'' if opened else opens}{some_text(dice)}{closes}"
    keys = [key for key in ("city", "days", "exact", "near") if dice.random() < 0.6]
    calls = [(dice.choice(["get_weather", "get-time.now"]), {key: some_value(dice, key) for key in keys})]
    if style.calls and dice.random() < 0.6:
        calls *= 1 if alone else dice.randint(1, 3)
        begins, ends = style.content
        words = "" if alone else f"{begins}{some_text(dice)}{ends}"
        return prompt, f"{text}{words}{style.calls(calls)}"
    return prompt, f"{text}{style.content[0]}{some_text(dice)}{style.content[1]}"


def library(template: dict[str, Any], prompt: str, text: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the library's message, and the fields of its regions."""
    parser = ResponseParser(template, prefix=prompt, tools=TOOLS)
    events = parser.initial_events + parser.feed(text)
    message, last = parser.finalize()
    return message, [event["field"] for event in events + last if event["type"] == "region_open"]


@pytest.mark.parametrize("name", FORMATS)
def test_generated_messages(name: str) -> None:
    dice = random.Random(name)
    style = STYLES[name]
    compared = 0
    for _ in range(COUNT):
        prompt, text = some_message(style, dice, alone=name == "llama-3")
        text += style.ending
        message, fields = library(TEMPLATES[name], prompt, text)
        part = read(name, text, prompt, dice=dice)
        calls = message.get("tool_calls") or []
        calls = [call.get("function", call) for call in calls]
        wanted = [(call["name"], call.get("arguments", call.get("parameters"))) for call in calls]
        assert calls_of(part) == wanted, text
        # The library keeps the last region of a field.
        if fields.count("reasoning_content") <= 1:
            assert part.reasoning == message.get("reasoning_content", ""), text
        if fields.count("content") <= 1:
            assert part.content == message.get("content", ""), text
            compared += 1
    assert compared > COUNT // 4


def test_a_template_of_another_make() -> None:
    """Fields with marks of their own, nothing between them, and a list of calls with other keys."""
    template = {
        "start_anchor_pattern": r"<\|BOT\|>",
        "fields": {
            "thinking": {"open": ["<T>", "<T2>"], "close": "</T>", "content_args": {"strip": False}},
            "content": {"open_pattern": r"(?:<R>|<RR>)\s*", "close_pattern": r"\n?</R>"},
            "tool_calls": {
                "open": "<A>",
                "close": "</A>",
                "content": "json",
                "transform_each": True,
                "transform": {"type": "function", "function": {"name": "{tool_name}", "arguments": "{given}"}},
            },
        },
    }
    text = 'x<T2> I think </T>y<RR>\n Hi <\n</R><A>[{"tool_name": "get_weather", "given": {"days": "5"}}]</A>z'
    message, _ = library(template, "<|BOT|>", text)
    for piece in (1, len(text)):
        reader = ResponseFormat("other", template).reader("<|BOT|>", TOOLS, "")
        parts = [reader.push(text[at : at + piece]) for at in range(0, len(text), piece)] + [reader.close()]
        assert "".join(part.reasoning for part in parts) == message["thinking"] == " I think "
        assert "".join(part.content for part in parts) == message["content"] == "Hi <"
        calls = [json.loads(call.arguments_json) for part in parts for call in part.tool_calls]
        assert calls == [message["tool_calls"][0]["function"]["arguments"]] == [{"days": 5}]


def test_delimiters_without_characters_and_a_name_behind_the_arguments() -> None:
    """Thinking begins with the message; a call's name closes it."""
    template = {
        "start_anchor": "A:",
        "fields": {
            "thinking": {"open_pattern": "^", "close": "</think>"},
            "tool_calls": {
                "open_pattern": r"(?=\{)",
                "close_pattern": r"@(?P<name>\w+)(?!\w)",
                "repeats": True,
                "content": "json",
                "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
            },
            "content": {"close_pattern": r"(?=!)|$"},
        },
    }
    for text in ('Hm.</think>{"a": 1}@f{"b": 2}@gg', "Hm.</think> !a!!", "Hm", "</think>", ""):
        for piece in (1, 2, 100):
            reader = ResponseFormat("other", template).reader("A:", TOOLS, "")
            parts = [reader.push(text[at : at + piece]) for at in range(0, len(text), piece)] + [reader.close()]
            assert "".join(part.reasoning for part in parts) == text.partition("</think>")[0]
            assert "".join(part.content for part in parts) == ("!a!!" if "!" in text else "")
            calls = [(call.name, call.arguments_json) for part in parts for call in part.tool_calls]
            assert calls == ([("f", '{"a": 1}'), ("gg", '{"b": 2}')] if "@" in text else [])


SCHEMAS: list[Any] = [
    None,
    {},
    "x",
    {"type": 5},
    {"type": "string"},
    {"type": "integer"},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "object"},
    {"type": "array"},
    {"type": "unheard of"},
    {"type": ["null", "integer"]},
    {"type": ["integer", "string"]},
    {"type": "integer", "nullable": True},
    {"anyOf": [{"type": "array"}, {"type": "null"}]},
    {"anyOf": [{"anyOf": [{"type": "boolean"}]}, "x", {"type": "number"}]},
]
TEXTS = [
    "",
    " ",
    "5",
    " 5 ",
    "-5",
    "5.5",
    "1e400",
    "nan",
    "inf",
    "true",
    " False ",
    "0",
    "null",
    "None",
    "٣",
    "1_0",
]
TEXTS += ["{}", "[]", '{"a": [1]}', "[", '"x"', "x", "9" * 5_000, "yes"] + (
    ["3.0", "-0.0", "1e3"] if reads_whole_floats else []
)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_texts_become_what_the_schema_says(schema: Any) -> None:
    types = ToolTypes([{"function": {"name": "f", "parameters": {"properties": {"x": schema}}}}])
    for text in TEXTS:
        found, wanted = types.typed("f", {"x": text})["x"], _coerce(text, _schema_types(schema))
        assert (type(found), found) == (type(wanted), wanted), text
    assert types.typed("f", {"x": 5.5, "y": "5"}) == {"x": 5.5, "y": "5"}
    assert types.typed("g", {"x": "5"}) == {"x": "5"}


def test_texts_that_the_library_would_change_or_raise_for() -> None:
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(5_000):
        deep = {"anyOf": [deep]}
    schemas = {
        "n": {"type": "number"},
        "a": {"type": "array"},
        "deep": deep,
        "odd": {"anyOf": 5, "oneOf": [deep, None]},
    }
    types = ToolTypes([{"name": "f", "parameters": {"properties": schemas}}, {}, {"function": 5}, {"function": {}}])
    kept = {"a": "[NaN]", "deep": "5", "odd": "5"}
    assert types.typed("f", {"n": "12345678901234567891", **kept}) == {"n": 12345678901234567891, **kept}
    assert types.typed("f", {"a": "[" * 10_000}) == {"a": "[" * 10_000}
    assert types.typed("f", {"n": ["1", 2, "x"]}) == {"n": [1, 2, "x"]}
