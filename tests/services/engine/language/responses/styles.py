"""How models write messages in each format, and a reader for tests."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers.utils.chat_parsing.content_parsers import CONTENT_PARSERS

from services.engine.language.responses.formats import ResponseFormat
from services.engine.language.responses.known import KNOWN_FORMATS
from services.engine.language.responses.message import MessagePart

Call = tuple[str, dict[str, Any]]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "…",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "exact": {"type": "boolean"},
                    "near": {"type": "array"},
                },
            },
        },
    }
    for name in ("get_weather", "get-time.now")
]
TEMPLATES = {each.name: each.template for each in KNOWN_FORMATS}
LACKING = set() if "python-call-list" in CONTENT_PARSERS else {"lfm-2"}
"""Formats that the installed transformers has no parser for."""
FORMATS = {
    each.name: ResponseFormat(each.name, each.template, is_known=True)
    for each in KNOWN_FORMATS
    if each.name not in LACKING
}


def said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def listed(calls: Sequence[Call], arguments: str = "arguments") -> str:
    return json.dumps([{"name": name, arguments: given} for name, given in calls], ensure_ascii=False)


def in_python(value: Any) -> str:
    return repr(value)


def gemma(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{gemma(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(gemma, value)) + "]"
    return f'<|"|>{value}<|"|>' if isinstance(value, str) else json.dumps(value)


def each_call(write: Callable[[str, dict[str, Any]], str], between: str = "\n") -> Callable[[Sequence[Call]], str]:
    return lambda calls: between.join(write(*call) for call in calls)


@dataclass(frozen=True)
class Style:
    prompt: str
    """The end of a prompt, up to where the model goes on."""
    ending: str
    calls: Callable[[Sequence[Call]], str] | None
    thinks: tuple[str, str] | None = ("<think>\n", "\n</think>\n\n")
    content: tuple[str, str] = ("", "")
    unthinking: str = "<think>\n\n</think>\n\n"
    """How a prompt ends if the model shall not think."""


CHATML = "<|im_start|>user\nhi <think> you<|im_end|>\n<|im_start|>assistant\n"
STYLES = {
    "hermes": Style(
        CHATML,
        "<|im_end|>",
        each_call(lambda name, given: f'<tool_call>\n{{"name": "{name}", "arguments": {said(given)}}}\n</tool_call>'),
    ),
    "qwen-3-coder": Style(
        CHATML,
        "<|im_end|>",
        each_call(
            lambda name, given: (
                f"<tool_call>\n<function={name}>\n"
                + "".join(f"<parameter={key}>\n{said(value)}\n</parameter>\n" for key, value in given.items())
                + "</function>\n</tool_call>"
            )
        ),
    ),
    "glm-4": Style(
        "[gMASK]<sop><|user|>\nhi<|assistant|>",
        "<|observation|>",
        each_call(
            lambda name, given: (
                f"<tool_call>{name}\n"
                + "".join(
                    f"<arg_key>{key}</arg_key>\n<arg_value>{said(value)}</arg_value>\n" for key, value in given.items()
                )
                + "</tool_call>"
            )
        ),
        thinks=("<think>", "</think>"),
        unthinking="\n<think></think>",
    ),
    "minimax-m2": Style(
        "]~b]user\nhi[e~[\n]~b]ai\n",
        "[e~[",
        lambda calls: (
            "<minimax:tool_call>\n"
            + "".join(
                f'<invoke name="{name}">\n'
                + "".join(f'<parameter name="{key}">{said(value)}</parameter>\n' for key, value in given.items())
                + "</invoke>\n"
                for name, given in calls
            )
            + "</minimax:tool_call>"
        ),
    ),
    "llama-3": Style(
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
        lambda calls: f'{{"name": "{calls[0][0]}", "parameters": {said(calls[0][1])}}}',
        thinks=None,
    ),
    "thinking": Style("<assistant>\n", "</s>", None),
    "deepseek-v3": Style(
        "<｜User｜>hi<｜Assistant｜>",
        "<｜end▁of▁sentence｜>",
        lambda calls: (
            "<｜tool▁calls▁begin｜>"
            + "\n".join(
                f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{said(given)}\n```<｜tool▁call▁end｜>"
                for name, given in calls
            )
            + "<｜tool▁calls▁end｜>"
        ),
    ),
    "deepseek-v3.1": Style(
        "<｜User｜>hi<｜Assistant｜>",
        "<｜end▁of▁sentence｜>",
        lambda calls: (
            "<｜tool▁calls▁begin｜>"
            + "".join(
                f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{said(given)}<｜tool▁call▁end｜>" for name, given in calls
            )
            + "<｜tool▁calls▁end｜>"
        ),
        thinks=("<think>", "</think>"),
        unthinking="</think>",
    ),
    "gpt-oss": Style(
        "<|start|>user<|message|>hi<|end|><|start|>assistant",
        "<|call|>",
        each_call(
            lambda name, given: (
                f"<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json"
                f"<|message|>{said(given)}<|call|>"
            ),
            "",
        ),
        thinks=("<|channel|>analysis<|message|>", "<|end|>"),
        content=("<|start|>assistant<|channel|>final<|message|>", "<|end|>"),
        unthinking="",
    ),
    "gemma-4": Style(
        "<|turn>user\nhi<turn|>\n<|turn>model\n",
        "<turn|>",
        each_call(lambda name, given: f"<|tool_call>call:{name}{gemma(given)}<tool_call|>", ""),
        thinks=("<|channel>thought\n", "\n<channel|>"),
        unthinking="<|channel>thought\n<channel|>",
    ),
    "kimi-k2": Style(
        "<|im_user|>user<|im_middle|>hi<|im_end|><|im_assistant|>assistant<|im_middle|>",
        "<|im_end|>",
        lambda calls: (
            "<|tool_calls_section_begin|>"
            + "".join(
                f"<|tool_call_begin|>functions.{name}:{index}<|tool_call_argument_begin|>{said(given)}<|tool_call_end|>"
                for index, (name, given) in enumerate(calls)
            )
            + "<|tool_calls_section_end|>"
        ),
    ),
    "mistral": Style(
        "[INST]hi[/INST]",
        "</s>",
        each_call(lambda name, given: f"[TOOL_CALLS]{name}[ARGS]{said(given)}", ""),
        thinks=("[THINK]", "[/THINK]"),
        unthinking="",
    ),
    "mistral-list": Style(
        "[INST] hi[/INST]",
        "</s>",
        lambda calls: f"[TOOL_CALLS] {listed(calls)}",
        thinks=("[THINK]", "[/THINK]"),
        unthinking="",
    ),
    "granite-3": Style(
        "<|start_of_role|>user<|end_of_role|>hi<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "<|end_of_text|>",
        lambda calls: f"<|tool_call|>{listed(calls)}",
    ),
    "phi-4-mini": Style(
        "<|user|>hi<|end|><|assistant|>", "<|end|>", lambda calls: f"<|tool_call|>{listed(calls)}<|/tool_call|>"
    ),
    "nemotron": Style(
        "<SPECIAL_11>User\nhi\n<SPECIAL_11>Assistant\n",
        "<SPECIAL_12>",
        lambda calls: f"<TOOLCALL>{listed(calls)}</TOOLCALL>",
        thinks=("<think>\n\n", "</think>"),
        unthinking="<think></think>",
    ),
    "seed-oss": Style(
        "<seed:bos>user\nhi<seed:eos><seed:bos>assistant\n",
        "<seed:eos>",
        each_call(
            lambda name, given: (
                f"<seed:tool_call>\n<function={name}>\n"
                + "".join(f"<parameter={key}>{said(value)}</parameter>\n" for key, value in given.items())
                + "</function>\n</seed:tool_call>"
            )
        ),
        thinks=("<seed:think>", "</seed:think>"),
        unthinking="",
    ),
    "lfm-2": Style(
        CHATML,
        "<|im_end|>",
        lambda calls: (
            "<|tool_call_start|>["
            + ", ".join(
                f"{name}({', '.join(f'{key}={in_python(value)}' for key, value in given.items())})"
                for name, given in calls
            )
            + "]<|tool_call_end|>"
        ),
    ),
}


def read(
    name: str, text: str, prompt: str = "", ending: str = "", *, dice: random.Random | None = None, tools: Any = TOOLS
) -> MessagePart:
    """Reads a text whole or, with `dice`, in pieces."""
    reader = FORMATS[name].reader(prompt, tools, "key")
    parts = [reader.push(piece) for piece in (pieces(text, dice) if dice else [text])]
    parts.append(reader.close(ending))
    assert not reader.push("more")
    assert not reader.close()
    return MessagePart(
        "".join(part.reasoning for part in parts),
        "".join(part.content for part in parts),
        tuple(call for part in parts for call in part.tool_calls),
    )


def pieces(text: str, dice: random.Random) -> list[str]:
    cuts = sorted(dice.sample(range(len(text) + 1), dice.randint(0, len(text)))) if dice.random() < 0.8 else []
    cuts = cuts or list(range(len(text)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def calls_of(part: MessagePart) -> list[Call]:
    return [(call.name, json.loads(call.arguments_json)) for call in part.tool_calls]
