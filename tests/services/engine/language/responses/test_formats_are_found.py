"""Which format a tokenizer's answers are read in."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.utils.chat_parsing.content_parsers import CONTENT_PARSERS

from services.engine.language.responses.formats import ResponseFormat, find_response_format
from services.engine.language.responses.known import KNOWN_FORMATS
from tests.services.engine.language.responses.styles import FORMATS, LACKING

OWN = {"start_anchor": "A:", "fields": {"reasoning": {"open": "((", "close": "))"}, "content": {}}}

# Made up; each has what the published templates of its models have.
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
CALLS = "{% if tools %}Answer {{ '<tool_call>\\n{\"name\": ' }} … </tool_call>{% endif %}"
EXAMPLES = {
    "hermes": CHATML + CALLS + "{% if thinks %}<think>\n\n</think>{% endif %}",
    "qwen-3-coder": CHATML + "{{ '<tool_call>\n<function=' + call.name + '>\n<parameter=' + key }} <think>",
    "glm-4": "[gMASK]<sop><|assistant|>{{ '<tool_call>' + call.name }}<arg_key>{{ k }}</arg_key><arg_value> <think>",
    "minimax-m2": "]~b]ai\n{{ '<minimax:tool_call>' }}{{ '<invoke name=\"' + call.name }} <think>",
    "llama-3": "<|start_header_id|>assistant<|end_header_id|>{{ '{\"name\": ' }}{{ '\"parameters\": ' }}<|python_tag|>",
    "thinking": "{% if add_generation_prompt %}<bot><think>\n{% endif %}",
    "deepseek-v3": "<｜Assistant｜>{{ '<｜tool▁call▁begin｜>' + '<｜tool▁sep｜>' + '\\n```json' }}</think>",
    "deepseek-v3.1": "<｜Assistant｜>{{ '<｜tool▁call▁begin｜>' + '<｜tool▁sep｜>' }}<think></think>",
    "gpt-oss": "<|start|>assistant<|channel|>commentary to=functions.{{ name }} <|constrain|>json<|message|>",
    "gemma-4": "<|turn>model\n{{ '<|tool_call>call:' + name }}<tool_call|><|channel>thought",
    "kimi-k2": "<|im_assistant|>{{ role }}<|im_middle|>{{ '<|tool_call_begin|>' }}<think></think><|im_end|>",
    "mistral": "[INST][/INST]{{ '[TOOL_CALLS]' + name + '[ARGS]' }}[THINK]",
    "mistral-list": '[INST][/INST]{{ "[TOOL_CALLS] [" }}',
    "granite-3": "<|start_of_role|>assistant<|end_of_role|> respond only with <|tool_call|> and a list; <think>",
    "phi-4-mini": "<|system|>{{ '<|tool|>' + m.tools + '<|/tool|>' }}<|assistant|>",
    "nemotron": "<SPECIAL_11>Assistant\n{{ '<TOOLCALL>[{{\"name\": ' }}</TOOLCALL><think>",
    "seed-oss": "<seed:bos>{{ '<seed:tool_call>\n<function=' + call.name + '>' }}<seed:think>",
    "lfm-2": CHATML + "List of tools: <|tool_list_start|>{{ '<|tool_call_start|>' }}<think>",
}


def found(template: Any, response: Any = None, own: Any = None) -> ResponseFormat | None:
    return find_response_format(SimpleNamespace(chat_template=template, response_template=response), own)


def test_every_format_has_an_example() -> None:
    assert EXAMPLES.keys() == {each.name for each in KNOWN_FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_an_example_finds_its_own_format(name: str) -> None:
    one, named = found(EXAMPLES[name]), found({"default": "x", "tool_use": EXAMPLES[name]})
    assert one and named and one.name == named.name == name


def test_lfm_2_may_only_list_its_tools() -> None:
    one, two = (found(text) for text in (EXAMPLES["lfm-2"], CHATML + "<|tool_list_start|>["))
    assert "lfm-2" in LACKING or (one and two and one.name == two.name == "lfm-2")


def test_a_format_that_transformers_cannot_parse_yet_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(CONTENT_PARSERS, "python-call-list", raising=False)
    with caplog.at_level(logging.WARNING):
        one = found(EXAMPLES["lfm-2"])
    assert one and one.name == "thinking"
    assert "not read as lfm-2" in caplog.text


def test_granite_4_writes_as_hermes() -> None:
    one = found("<|start_of_role|>assistant<|end_of_role|>" + CALLS)
    assert one and one.name == "hermes"


@pytest.mark.parametrize("template", [None, "", "{{ messages }}", {"default": None}, 5])
def test_an_unknown_template_has_no_format(template: Any) -> None:
    assert found(template) is None
    assert find_response_format(object()) is None


def test_the_operators_template_comes_first_then_the_tokenizers() -> None:
    one, another = found(EXAMPLES["hermes"], OWN, OWN), found(EXAMPLES["hermes"], OWN)
    assert one and another and (one.name, another.name) == ("configured", "own")
    reader = another.reader("A:", [], "")
    assert (reader.push("((x)) y").reasoning, reader.close().content) == ("x", "")


FAULTS: list[Any] = [
    5,
    {},
    {"fields": {"content": {}}},
    {"start_anchor": "A:", "fields": {"content": {}, "mood": {"open": "<m>"}}},
    {"start_anchor": "A:", "fields": {"content": {"content": "json"}}},
    {"start_anchor": "A:", "fields": {"content": {"content": "heard of by none"}}},
    {"start_anchor": "A:", "fields": {"tool_calls": {"open_pattern": "("}}},
    {"start_anchor": "A:", "fields": {"tool_calls": {"open_pattern": 5}}},
    {"start_anchor": "A:", "fields": {"tool_calls": {"open": "<", "content": "xml-inline"}}},
    {
        "start_anchor": "A:",
        "fields": {"tool_calls": {"open": "<", "content": "xml-inline", "content_args": {"tag_pattern": "("}}},
    },
    {
        "start_anchor": "A:",
        "fields": {"tool_calls": {"open": "<", "content": "xml-inline", "content_args": {"tag_pattern": "x"}}},
    },
    {"start_anchor": "A:", "fields": {"tool_calls": {"open": "<", "content": "json", "content_args": 5}}},
    {
        "start_anchor": "A:",
        "fields": {"tool_calls": {"open": "<", "content": "json", "content_args": {"string_delims": [["a"]]}}},
    },
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_template_that_cannot_be_served_is_refused(fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"."):
        found(EXAMPLES["hermes"], None, fault)
    with caplog.at_level(logging.WARNING):
        one = found(EXAMPLES["hermes"], fault)
    assert one and one.name == "hermes"
    assert "response template is not used" in caplog.text
