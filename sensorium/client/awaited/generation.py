"""Generated text as an asynchronous iterator of strings."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from sensorium.client.awaited.connection import AsyncService
from sensorium.client.awaited.iteration import AsyncIteration
from sensorium.client.awaited.stream import AsyncStream
from sensorium.client.contract import TextRpcs
from sensorium.client.conversation import Answer, chat_prompt, chat_request
from sensorium.client.generation import GenerationOptions, Transcript, call_options, text_request
from sensorium.v1.common_pb2 import AssistantMessage, ChatMessage, Tool
from sensorium.v1.text_pb2 import StreamGenerateResponse


class AsyncTextStream(Transcript, AsyncIteration[str]):
    """Pieces of one generated text, none of them empty; `completed` is set behind the last."""

    def __init__(self, events: AsyncStream[StreamGenerateResponse]) -> None:
        super().__init__()
        self.events = events

    async def __anext__(self) -> str:
        while True:
            if text := self.text_of(await anext(self.events)):
                return text

    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""
        self.events.cancel()


class AsyncMessageStream(Answer, AsyncIteration[AssistantMessage]):
    """Parts of one answer, none of them empty: texts to append, and calls of tools that are whole."""

    def __init__(self, events: AsyncStream[StreamGenerateResponse]) -> None:
        super().__init__()
        self.events = events

    async def __anext__(self) -> AssistantMessage:
        while True:
            if part := self.part_of(await anext(self.events)):
                return part

    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""
        self.events.cancel()


class AsyncTextService(AsyncService, TextRpcs):
    """Everything that reads text."""

    def stream_text(self, prompt: str, **options: Unpack[GenerationOptions]) -> AsyncTextStream:
        """Continues `prompt` and returns the pieces of text as they come.

        Raises:
            SensoriumError: while iterating.
        """
        return AsyncTextStream(self.stream_generate(text_request(prompt, options), **call_options(options)))

    def stream_chat(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        system: str = "",
        tools: Sequence[Tool] = (),
        template_variables: Mapping[str, object] = {},
        **options: Unpack[GenerationOptions],
    ) -> AsyncTextStream:
        """Answers `messages`, of which a text is one turn of the user, under the instructions `system`.

        The model may ask for `tools`. `template_variables` are further variables of its chat template, of any values
        that JSON has, such as `enable_thinking`.

        Raises:
            SensoriumError: while iterating.
            TypeError, ValueError: a template variable has no form in JSON.
        """
        chat = chat_prompt(messages, system, tools, template_variables)
        return AsyncTextStream(self.stream_generate(chat_request(chat, options), **call_options(options)))

    def stream_message(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        system: str = "",
        tools: Sequence[Tool] = (),
        template_variables: Mapping[str, object] = {},
        **options: Unpack[GenerationOptions],
    ) -> AsyncMessageStream:
        """Like `stream_chat`, and tells reasoning, content and calls of tools apart.

        Models whose format is not known refuse it (`ModelInfo.response_format` tells).

        Raises:
            SensoriumError: while iterating.
            TypeError, ValueError: a template variable has no form in JSON.
        """
        chat = chat_prompt(messages, system, tools, template_variables, parse_response=True)
        return AsyncMessageStream(self.stream_generate(chat_request(chat, options), **call_options(options)))
