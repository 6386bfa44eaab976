"""Generated text as an asynchronous iterator of strings."""

from collections.abc import Sequence
from typing import Unpack

from sensorium.client.awaited.connection import AsyncService
from sensorium.client.awaited.iteration import AsyncIteration
from sensorium.client.awaited.stream import AsyncStream
from sensorium.client.contract import TextRpcs
from sensorium.client.generation import GenerationOptions, Transcript, call_options, chat_request, text_request
from sensorium.v1.common_pb2 import ChatMessage
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


class AsyncTextService(AsyncService, TextRpcs):
    """Everything that reads text."""

    def stream_text(self, prompt: str, **options: Unpack[GenerationOptions]) -> AsyncTextStream:
        """Continues `prompt` and returns the pieces of text as they come.

        Raises:
            SensoriumError: while iterating.
        """
        return AsyncTextStream(self.stream_generate(text_request(prompt, options), **call_options(options)))

    def stream_chat(
        self, messages: str | Sequence[ChatMessage], *, system: str = "", **options: Unpack[GenerationOptions]
    ) -> AsyncTextStream:
        """Answers `messages`, of which a text is one turn of the user, under the instructions `system`.

        Raises:
            SensoriumError: while iterating.
        """
        return AsyncTextStream(self.stream_generate(chat_request(messages, system, options), **call_options(options)))
