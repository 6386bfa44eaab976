"""No text takes more than linear time, or is kept for long."""

import time
from typing import Any

import pytest
import regex

from services.engine.language.responses import delimiters, fields
from services.engine.language.responses.delimiters import LONGEST, Delimiter, Mark
from services.engine.language.responses.fields import LONGEST_BODY
from services.engine.language.responses.formats import ResponseFormat
from services.engine.language.responses.message import MessagePart
from tests.services.engine.language.responses.styles import FORMATS, read

FEW, MANY = 200, 800


def seconds(form: ResponseFormat, begins: str, text: str, count: int) -> float:
    """Returns the CPU time of reading a text that comes again and again."""
    times = []
    for _ in range(2):
        reader = form.reader("", [], "")
        start = time.thread_time()
        size = len(reader.push(begins).content)
        for _ in range(count):
            size += len(reader.push(text).content)
        part = reader.close()
        times.append(time.thread_time() - start)
        assert size + len(part.content) <= len(begins) + count * len(text)
    return min(times)


@pytest.mark.parametrize(
    ("name", "begins", "text"),
    [
        ("hermes", "", " "),
        ("hermes", "", "<tool_ca"),
        ("hermes", "", "<tool_call> "),
        ("hermes", "<tool_call>{", " "),
        ("hermes", '<tool_call>{"', "</tool_"),
        ("qwen-3-coder", "<tool_call><function=f>", "<parameter=x>"),
        ("qwen-3-coder", "<tool_call>", " "),
        ("gpt-oss", "", "<|channel|>commentary to=a "),
        ("thinking", "<think>", "\n"),
        ("llama-3", "{", "{"),
    ],
)
def test_time_is_linear(name: str, begins: str, text: str) -> None:
    few = seconds(FORMATS[name], begins, text, FEW)
    many = seconds(FORMATS[name], begins, text, MANY)
    assert many < 2.5 * MANY / FEW * few + 0.005


def test_a_pattern_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimiters, "_SECONDS", 0.01)
    monkeypatch.setattr(delimiters, "_MORE_SECONDS", 0.02)
    template: dict[str, Any] = {
        "start_anchor": "A:",
        "fields": {"tool_calls": {"open_pattern": r"<(?:a?){60}a{60}(?:\w|\w\w)*!", "close": ">"}, "content": {}},
    }
    text = f"<{'a' * 120}"
    reader = ResponseFormat("slow", template).reader("", [], "")
    start = time.thread_time()
    assert reader.push(text * 20).content + reader.close().content == text * 20
    assert time.thread_time() - start < 1


def test_a_pattern_that_once_took_long_is_tried_again() -> None:
    """The clock counts what other threads do meanwhile."""

    class Late:
        pattern = "<x>"
        late = True

        def match(self, *args: Any, **how: Any) -> Any:
            Late.late = not Late.late
            if not Late.late:
                raise TimeoutError
            return regex.compile(self.pattern).match(*args, **how)

    delimiter = Delimiter("content", opens=True, pattern=Late(), literals=None)
    assert delimiter.judge("a<x>b", 1, 5, final=False) == (True, Mark(4, {}))


def test_a_pattern_of_arguments_that_takes_for_ever_makes_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_SECONDS", 0.01)
    monkeypatch.setattr(fields, "_MORE_SECONDS", 0.02)
    text = f"<tool_call><function=f>{'<parameter=x>' * 15_000}</function></tool_call>"
    start = time.thread_time()
    assert read("qwen-3-coder", text) == MessagePart(content=text)
    assert time.thread_time() - start < 1


def test_too_many_strings_make_no_call() -> None:
    text = "<|tool_call>call:f{x:[" + '<|"|>y<|"|>,' * 12_000 + "0]}<tool_call|>"
    assert read("gemma-4", text) == MessagePart(content=text)


def test_a_call_that_is_too_long_is_content_at_once() -> None:
    reader = FORMATS["hermes"].reader("", [], "")
    long = "x" * LONGEST_BODY
    assert not reader.push('<tool_call>{"')
    assert reader.push(long).content == f'<tool_call>{{"{long}'
    assert reader.push("y</tool_").content == "y"
    assert reader.push("call> Hi").content == "</tool_call> Hi"
    assert reader.push('<tool_call>{"name": "f", "arguments": {}}</tool_call>').tool_calls


def test_a_mark_is_held_back_for_some_hundred_characters_at_most() -> None:
    for name, text in [("hermes", "<tool_call>"), ("gpt-oss", "<|channel|>commentary to=")]:
        reader = FORMATS[name].reader("", [], "")
        assert not reader.push(text)
        filling = " " if name == "hermes" else "a"
        said = [reader.push(filling) for _ in range(LONGEST)]
        assert any(said) or reader.push("x").content.startswith(text)
