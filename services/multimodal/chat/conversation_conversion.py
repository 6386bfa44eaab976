"""Converts requests of Generate and StreamGenerate, conversations with media, from protobuf to plain values."""

import time
from collections.abc import Iterator

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from services.engine.language.texts import Chat
from services.engine.multimodal.kind import MediaKind
from services.enums import unknown_enum_numbers
from services.generation.ask import GenerationAsk, ShownMedium
from services.generation.chat_conversion import (
    chat_violations,
    parsing_violations,
    template_chat,
    template_turn,
    turn_violations,
)
from services.generation.parameters_conversion import delivered_tokens, generation_options
from services.generation.structure_conversion import structure_violations
from services.media_conversion import sent_media

Request = pb.MultimodalServiceGenerateRequest | pb.MultimodalServiceStreamGenerateRequest

_PLACE = "prompt"
_KINDS = {"image": (MediaKind.IMAGE, "image"), "audio": (MediaKind.AUDIO, "recording")}
"""For each field of a content part: the kind of its medium, and the noun for it in violations."""


def conversation_ask(request: Request, seconds: float | None) -> GenerationAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    wrong = [
        *unknown_enum_numbers(request),
        *_violations(request.prompt),
        *parsing_violations(_PLACE, request.prompt, request.parameters),
        *structure_violations(request.parameters),
    ]
    return GenerationAsk(
        chat=None if wrong else _chat(request.prompt),
        media=tuple(_media(request.prompt)),
        options=generation_options(request.parameters, request.priority),
        delivered=delivered_tokens(request.delivered),
        return_rendered_prompt=request.return_rendered_prompt,
        cache_salt=request.cache_salt,
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(wrong),
        parsed=f"{_PLACE}.parse_response" if request.prompt.parse_response else "",
    )


def _violations(prompt: pb.MultimodalPrompt) -> Iterator[Violation]:
    for i, message in enumerate(prompt.messages):
        place = f"{_PLACE}.messages[{i}]"
        yield from turn_violations(place, message)
        if not message.parts and not (message.tool_calls and message.role == common.ROLE_ASSISTANT):
            yield Violation(f"{place}.parts", "must not be empty")
        for j, part in enumerate(message.parts):
            if part.WhichOneof("part") is None:
                yield Violation(f"{place}.parts[{j}]", "must be set: text, image or audio")
    yield from chat_violations(_PLACE, prompt)


def _chat(prompt: pb.MultimodalPrompt) -> Chat:
    return template_chat(
        prompt, [template_turn(message, [_part(part) for part in message.parts]) for message in prompt.messages]
    )


def _part(part: pb.ContentPart) -> dict[str, str]:
    which = part.WhichOneof("part")
    return {"type": "text", "text": part.text} if which == "text" else {"type": str(which)}


def _media(prompt: pb.MultimodalPrompt) -> Iterator[ShownMedium]:
    for i, message in enumerate(prompt.messages):
        for j, part in enumerate(message.parts):
            if (which := part.WhichOneof("part")) in _KINDS:
                kind, noun = _KINDS[which]
                sent = sent_media(getattr(part, which), noun)
                yield ShownMedium(kind, sent, f"{_PLACE}.messages[{i}].parts[{j}].{which}")
