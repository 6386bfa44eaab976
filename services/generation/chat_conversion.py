"""Converts and checks what turns of text and turns with media have in common."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as multimodal
from services.engine.language.chat_template import REASONING
from services.engine.language.texts import Chat

Turn = common.ChatMessage | multimodal.MultimodalMessage
Conversation = common.ChatPrompt | multimodal.MultimodalPrompt

_ROLES = {
    common.ROLE_SYSTEM: "system",
    common.ROLE_USER: "user",
    common.ROLE_ASSISTANT: "assistant",
    common.ROLE_TOOL: "tool",
}

_MOST_CHARACTERS = 262_144
"""Of one text in JSON: nothing else runs while Python reads it: for so many, a hundredth of a second or more."""
_MOST_NESTED = 100
"""Objects and lists within each other: templates, and what looks for media in their input, call themselves for each."""


def turn_violations(place: str, turn: Turn) -> Iterator[Violation]:
    """Yields what is wrong with a turn at `place`, whatever it says."""
    if turn.role == common.ROLE_UNSPECIFIED:
        yield Violation(f"{place}.role", "must be set")
    if turn.tool_calls and turn.role != common.ROLE_ASSISTANT:
        yield Violation(f"{place}.tool_calls", "belong to the assistant's turns only")
    if turn.tool_call_id and turn.role != common.ROLE_TOOL:
        yield Violation(f"{place}.tool_call_id", "belongs to a tool's turns only")
    if turn.reasoning and turn.role != common.ROLE_ASSISTANT:
        yield Violation(f"{place}.reasoning", "belongs to the assistant's turns only")
    for j, call in enumerate(turn.tool_calls):
        yield from _json_violations(f"{place}.tool_calls[{j}].arguments_json", call.arguments_json)


def chat_violations(place: str, chat: Conversation) -> Iterator[Violation]:
    """Yields what is wrong with a conversation at `place`, but for its turns."""
    if not chat.messages:
        yield Violation(f"{place}.messages", "must hold at least one message")
    for i, tool in enumerate(chat.tools):
        yield from _json_violations(f"{place}.tools[{i}].parameters_json_schema", tool.parameters_json_schema)
    if chat.continue_last_message and chat.messages and chat.messages[-1].role != common.ROLE_ASSISTANT:
        yield Violation(f"{place}.continue_last_message", "needs a last message of the assistant")
    for name, text in chat.template_variables_json.items():
        yield from _json_violations(f"{place}.template_variables_json[{name}]", text, kind=object)


def parsing_violations(place: str, chat: Conversation, parameters: common.GenerationParameters) -> Iterator[Violation]:
    """Yields what keeps a model's answer to a conversation at `place` from being parsed."""
    if chat.parse_response and parameters.skip_special_tokens:
        yield Violation("parameters.skip_special_tokens", f"must not be set together with {place}.parse_response")


def template_chat(chat: Conversation, turns: list[dict[str, Any]]) -> Chat:
    """Returns a conversation of these turns."""
    variables = {name: json.loads(text) for name, text in chat.template_variables_json.items()}
    return Chat(turns, _template_tools(chat.tools), chat.continue_last_message, variables)


def template_turn(turn: Turn, content: object) -> dict[str, Any]:
    """Returns a turn that says `content`, in the form that chat templates read."""
    plain: dict[str, Any] = {"role": _ROLES[turn.role], "content": content}
    if turn.tool_calls:
        plain["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": json.loads(call.arguments_json or "{}")},
            }
            for call in turn.tool_calls
        ]
    if turn.reasoning:
        plain[REASONING] = turn.reasoning
    if turn.tool_call_id:
        plain["tool_call_id"] = turn.tool_call_id
    return plain


def _template_tools(tools: Iterable[common.Tool]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters_json_schema or "{}"),
            },
        }
        for tool in tools
    ]


def _json_violations(place: str, text: str, kind: type = dict) -> Iterator[Violation]:
    if len(text) > _MOST_CHARACTERS:
        yield Violation(place, f"has {len(text)} characters of JSON; at most {_MOST_CHARACTERS} are read")
        return
    wrong = "must be a JSON object" if kind is dict else "must be JSON"
    try:
        value = json.loads(text or "{}" if kind is dict else text, parse_constant=_refuse)
        if _nested_deeper(value, _MOST_NESTED):
            raise RecursionError
        json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a surrogate pair is no text
        fine = isinstance(value, kind)
    except RecursionError:
        fine, wrong = False, f"may be nested {_MOST_NESTED} deep at most"
    except ValueError:
        fine = False
    if not fine:
        yield Violation(place, wrong)


def _nested_deeper(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for each in level
            if isinstance(each, (dict, list))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, (dict, list)) for each in level)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
