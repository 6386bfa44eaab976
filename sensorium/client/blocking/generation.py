"""Generated text as an iterator of strings."""

from collections.abc import Sequence
from typing import Unpack

from sensorium.client.blocking.connection import BlockingService
from sensorium.client.blocking.iteration import Iteration
from sensorium.client.blocking.stream import Stream
from sensorium.client.contract import TextRpcs
from sensorium.client.generation import GenerationOptions, Transcript, call_options, chat_request, text_request
from sensorium.v1.common_pb2 import ChatMessage
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


class TextService(BlockingService, TextRpcs):
    """Everything that reads text."""

    def stream_text(self, prompt: str, **options: Unpack[GenerationOptions]) -> TextStream:
        """Continues `prompt` and returns the pieces of text as they come.

        Raises:
            SensoriumError: while iterating.
        """
        return TextStream(self.stream_generate(text_request(prompt, options), **call_options(options)))

    def stream_chat(
        self, messages: str | Sequence[ChatMessage], *, system: str = "", **options: Unpack[GenerationOptions]
    ) -> TextStream:
        """Answers `messages`, of which a text is one turn of the user, under the instructions `system`.

        Raises:
            SensoriumError: while iterating.
        """
        return TextStream(self.stream_generate(chat_request(messages, system, options), **call_options(options)))
