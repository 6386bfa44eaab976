"""The edge of the text service, inward: requests of the contract as plain values, with what is wrong in their form."""

import json
import time
from collections.abc import Iterator
from typing import Any

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.engine.texts import Chat
from services.enums import unknown_enum_numbers
from services.generation.ask import GenerationAsk
from services.generation.parameters_conversion import delivered_tokens, generation_options
from services.generation.structure_conversion import structure_violations

_ROLES = {
    common.ROLE_SYSTEM: "system",
    common.ROLE_USER: "user",
    common.ROLE_ASSISTANT: "assistant",
    common.ROLE_TOOL: "tool",
}


def generation_ask(request: pb.GenerateRequest | pb.StreamGenerateRequest, seconds: float | None) -> GenerationAsk:
    """Returns the request as plain values; `seconds` is what is left of its deadline."""
    which = request.WhichOneof("input")
    wrong = list(unknown_enum_numbers(request))
    if which is None:
        wrong.append(Violation("input", "must be set: prompt, prompt_token_ids or chat"))
    if which == "chat":
        wrong += _chat_violations(request.chat)
    wrong += structure_violations(request.parameters)
    return GenerationAsk(
        prompt=request.prompt if which == "prompt" else None,
        prompt_token_ids=list(request.prompt_token_ids.ids) if which == "prompt_token_ids" else None,
        chat=_chat(request.chat) if which == "chat" and not wrong else None,
        options=generation_options(request.parameters, request.priority),
        delivered=delivered_tokens(request.delivered),
        return_rendered_prompt=request.return_rendered_prompt,
        cache_salt=request.cache_salt,
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(wrong),
    )


def _chat_violations(chat: common.ChatPrompt) -> Iterator[Violation]:
    if not chat.messages:
        yield Violation("chat.messages", "must hold at least one message")
    for i, message in enumerate(chat.messages):
        place = f"chat.messages[{i}]"
        if message.role == common.ROLE_UNSPECIFIED:
            yield Violation(f"{place}.role", "must be set")
        if message.tool_calls and message.role != common.ROLE_ASSISTANT:
            yield Violation(f"{place}.tool_calls", "belong to the assistant's turns only")
        if message.tool_call_id and message.role != common.ROLE_TOOL:
            yield Violation(f"{place}.tool_call_id", "belongs to a tool's turns only")
        if not message.content and not message.tool_calls:
            yield Violation(f"{place}.content", "must not be empty")
        for j, call in enumerate(message.tool_calls):
            yield from _json_violations(f"{place}.tool_calls[{j}].arguments_json", call.arguments_json)
    for i, tool in enumerate(chat.tools):
        yield from _json_violations(f"chat.tools[{i}].parameters_json_schema", tool.parameters_json_schema)
    if chat.continue_last_message and chat.messages and chat.messages[-1].role != common.ROLE_ASSISTANT:
        yield Violation("chat.continue_last_message", "needs a last message of the assistant")


def _json_violations(place: str, text: str) -> Iterator[Violation]:
    try:
        value = json.loads(text or "{}")
        json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a surrogate pair is no text
        fine = isinstance(value, dict)
    except (ValueError, RecursionError):
        fine = False
    if not fine:
        yield Violation(place, "must be a JSON object")


def _chat(chat: common.ChatPrompt) -> Chat:
    return Chat(
        messages=[_message(message) for message in chat.messages],
        tools=[
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": json.loads(tool.parameters_json_schema or "{}"),
                },
            }
            for tool in chat.tools
        ],
        continue_last=chat.continue_last_message,
    )


def _message(message: common.ChatMessage) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": _ROLES[message.role], "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": json.loads(call.arguments_json or "{}")},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    return plain
