"""Generated text as an iterator of strings."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from sensorium.client.blocking.connection import BlockingService
from sensorium.client.blocking.iteration import Iteration
from sensorium.client.blocking.stream import Stream
from sensorium.client.contract import TextRpcs
from sensorium.client.conversation import Answer, chat_prompt, chat_request
from sensorium.client.generation import GenerationOptions, Transcript, call_options, text_request
from sensorium.v1.common_pb2 import AssistantMessage, ChatMessage, Tool
from sensorium.v1.text_pb2 import StreamGenerateResponse


class TextStream(Transcript, Iteration[str]):
    """Pieces of one generated text, none of them empty; `completed` is set behind the last."""

    def __init__(self, events: Stream[StreamGenerateResponse]) -> None:
        super().__init__()
        self.events = events

    def __next__(self) -> str:
        while True:
            if text := self.text_of(next(self.events)):
                return text

    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""
        self.events.cancel()


class MessageStream(Answer, Iteration[AssistantMessage]):
    """Parts of one answer, none of them empty: texts to append, and calls of tools that are whole."""

    def __init__(self, events: Stream[StreamGenerateResponse]) -> None:
        super().__init__()
        self.events = events

    def __next__(self) -> AssistantMessage:
        while True:
            if part := self.part_of(next(self.events)):
                return part

    def cancel(self) -> None:
        """Ends the call. Does nothing to one that has ended."""
        self.events.cancel()


class TextService(BlockingService, TextRpcs):
    """Everything that reads text."""

    def stream_text(self, prompt: str, **options: Unpack[GenerationOptions]) -> TextStream:
        """Continues `prompt` and returns the pieces of text as they come.

        Raises:
            SensoriumError: while iterating.
        """
        return TextStream(self.stream_generate(text_request(prompt, options), **call_options(options)))

    def stream_chat(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        system: str = "",
        tools: Sequence[Tool] = (),
        template_variables: Mapping[str, object] = {},
        **options: Unpack[GenerationOptions],
    ) -> TextStream:
        """Answers `messages`, of which a text is one turn of the user, under the instructions `system`.

        The model may ask for `tools`. `template_variables` are further variables of its chat template, of any values
        that JSON has, such as `enable_thinking`.

        Raises:
            SensoriumError: while iterating.
            TypeError, ValueError: a template variable has no form in JSON.
        """
        chat = chat_prompt(messages, system, tools, template_variables)
        return TextStream(self.stream_generate(chat_request(chat, options), **call_options(options)))

    def stream_message(
        self,
        messages: str | Sequence[ChatMessage],
        *,
        system: str = "",
        tools: Sequence[Tool] = (),
        template_variables: Mapping[str, object] = {},
        **options: Unpack[GenerationOptions],
    ) -> MessageStream:
        """Like `stream_chat`, and tells reasoning, content and calls of tools apart.

        Models whose format is not known refuse it (`ModelInfo.response_format` tells).

        Raises:
            SensoriumError: while iterating.
            TypeError, ValueError: a template variable has no form in JSON.
        """
        chat = chat_prompt(messages, system, tools, template_variables, parse_response=True)
        return MessageStream(self.stream_generate(chat_request(chat, options), **call_options(options)))
