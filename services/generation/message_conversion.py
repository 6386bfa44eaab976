"""Converts the parts of a model's answer to messages, while it is read."""

import asyncio

from sensorium.v1 import common_pb2 as common
from services.engine.generation.requests.request import Finish
from services.engine.language.responses.message import MessagePart, pieces
from services.generation.ask import ParsedAnswer


async def add_text(message: common.AssistantMessage, answer: ParsedAnswer, text: str) -> None:
    """Adds to a message what a text says, of any length: whole outputs come at once where nobody reads a stream."""
    parts: list[MessagePart] = []
    for piece in pieces(text):
        if parts:
            await asyncio.sleep(0)
        parts.append(answer.push(piece))
    _add(message, parts)


def add_end(message: common.AssistantMessage, answer: ParsedAnswer, finish: Finish) -> None:
    """Adds to a message what the end of its text says."""
    _add(message, [answer.close(finish)])


def _add(message: common.AssistantMessage, parts: list[MessagePart]) -> None:
    if not any(parts):
        return
    message.SetInParent()
    message.reasoning += "".join(part.reasoning for part in parts)
    message.content += "".join(part.content for part in parts)
    message.tool_calls.extend(
        common.ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)
        for part in parts
        for call in part.tool_calls
    )
