"""Conversations in ordinary Python: turns in, the answer out as a message."""

import json
from collections.abc import Mapping, Sequence

from sensorium.client.generation import GenerationOptions, Transcript, generation_parameters
from sensorium.v1.common_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_USER,
    AssistantMessage,
    ChatMessage,
    ChatPrompt,
    Tool,
)
from sensorium.v1.text_pb2 import StreamGenerateRequest, StreamGenerateResponse


def chat_prompt(
    messages: str | Sequence[ChatMessage],
    system: str,
    tools: Sequence[Tool],
    template_variables: Mapping[str, object],
    *,
    parse_response: bool = False,
) -> ChatPrompt:
    """Returns the conversation of `messages`, of which a text is one user turn, under the instructions `system`.

    Raises:
        TypeError: a template variable has no form in JSON.
        ValueError: nor has an infinite number, and one that is none.
    """
    turns = [ChatMessage(role=ROLE_USER, content=messages)] if isinstance(messages, str) else messages
    opening = [ChatMessage(role=ROLE_SYSTEM, content=system)] if system else []
    variables = {name: _json(name, value) for name, value in template_variables.items()}
    return ChatPrompt(
        messages=[*opening, *turns], tools=tools, template_variables_json=variables, parse_response=parse_response
    )


def chat_request(chat: ChatPrompt, options: GenerationOptions) -> StreamGenerateRequest:
    """Returns the request to answer `chat`."""
    return StreamGenerateRequest(chat=chat, parameters=generation_parameters(options))


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"template_variables: the value of {name!r} is no JSON: {error}") from None


class Answer(Transcript):
    """What a stream told of one answer."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[AssistantMessage] = []

    @property
    def message(self) -> AssistantMessage:
        """The answer as far as it came: whole behind the last part."""
        return AssistantMessage(
            reasoning="".join(part.reasoning for part in self._parts),
            content="".join(part.content for part in self._parts),
            tool_calls=[call for part in self._parts for call in part.tool_calls],
        )

    def turn(self, *, reasoning: bool = False) -> ChatMessage:
        """Returns the message as a turn, to be appended to the conversation.

        `reasoning` keeps what was thought. Many templates have no place for it, and their models refuse it then.
        """
        said = self.message
        return ChatMessage(
            role=ROLE_ASSISTANT,
            content=said.content,
            tool_calls=said.tool_calls,
            reasoning=said.reasoning if reasoning else "",
        )

    def part_of(self, event: StreamGenerateResponse) -> AssistantMessage | None:
        """Takes note of `event` and returns what it adds to the message; None if nothing."""
        self.note(event)
        for source in (event.delta, *event.completed.candidates):
            if source.candidate_index == 0 and source.message.ByteSize():
                self._parts.append(source.message)
                return source.message
        return None
