"""The event loop's side of one request in the engine."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import SlowConsumer
from services.engine.generation.requests.request import GenerationTimes

Sound = NDArray[np.float32]
"""Audio `[samples]`, usually within [-1, 1]."""


@dataclass(frozen=True)
class SpeechEnd:
    """The end of a text that was said."""

    times: GenerationTimes
    cut: bool
    """Whether the model reached its longest output in any of its sentences."""


class SpeechStream:
    """An asynchronous iterator over a request's audio. Belongs to the event loop on which it was made."""

    def __init__(self, on_read: Callable[[int], object], on_cancel: Callable[[], object]) -> None:
        """`on_read` is called with the number of samples of each piece read, `on_cancel` by `cancel`."""
        self.loop = asyncio.get_running_loop()
        self.end: SpeechEnd | None = None
        """Set once the last piece was read."""
        self._on_read = on_read
        self._on_cancel = on_cancel
        self._pieces: deque[Sound] = deque()
        self._end: SpeechEnd | Exception | None = None
        self._arrived = asyncio.Event()

    def deliver(self, event: Sound | SpeechEnd | Exception) -> None:
        """Takes the next piece, or the end or error that ends the stream. Called on the event loop."""
        if isinstance(event, np.ndarray):
            self._pieces.append(event)
        else:
            self._end = event
        if isinstance(event, SlowConsumer):  # frees the unread audio that caused it
            self._pieces.clear()
        self._arrived.set()

    def cancel(self) -> None:
        """Cancels the rest. Does nothing after the end."""
        self._on_cancel()
        # Breaks reference cycles through the callbacks and the error's traceback, which would keep unread audio.
        self._on_read = self._on_cancel = _nothing
        self._end = None

    def __aiter__(self) -> "SpeechStream":
        return self

    async def __anext__(self) -> Sound:
        """Returns the next piece. After the last one raises the error that ended the stream, if any."""
        while not self._pieces:
            if isinstance(self._end, Exception):
                raise self._end
            if self._end is not None:
                self.end = self._end
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        self._on_read(len(piece))
        return piece


def _nothing(_samples: int = 0) -> None:
    """Replaces callbacks of a cancelled stream."""
