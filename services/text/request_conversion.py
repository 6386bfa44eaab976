"""Converts requests of Generate and StreamGenerate from protobuf to plain values, and checks their form."""

import time
from collections.abc import Iterator

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.engine.language.texts import Chat
from services.enums import unknown_enum_numbers
from services.generation.ask import GenerationAsk
from services.generation.chat_conversion import (
    chat_violations,
    parsing_violations,
    template_chat,
    template_turn,
    turn_violations,
)
from services.generation.parameters_conversion import delivered_tokens, generation_options
from services.generation.structure_conversion import structure_violations


def generation_ask(request: pb.GenerateRequest | pb.StreamGenerateRequest, seconds: float | None) -> GenerationAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    which = request.WhichOneof("input")
    wrong = list(unknown_enum_numbers(request))
    if which is None:
        wrong.append(Violation("input", "must be set: prompt, prompt_token_ids or chat"))
    if which == "chat":
        wrong += _chat_violations(request.chat)
        wrong += parsing_violations("chat", request.chat, request.parameters)
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
        parsed="chat.parse_response" if which == "chat" and request.chat.parse_response else "",
    )


def _chat_violations(chat: common.ChatPrompt) -> Iterator[Violation]:
    for i, message in enumerate(chat.messages):
        place = f"chat.messages[{i}]"
        yield from turn_violations(place, message)
        if not message.content and not message.tool_calls:
            yield Violation(f"{place}.content", "must not be empty")
    yield from chat_violations("chat", chat)


def _chat(chat: common.ChatPrompt) -> Chat:
    return template_chat(chat, [template_turn(message, message.content) for message in chat.messages])
