"""What the event loop sees of one request that is spoken."""

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import SlowConsumer
from services.engine.generation.requests.request import GenerationTimes

Sound = NDArray[np.float32]
"""`[samples]` in [-1, 1], as a rule."""


class SpeechStream:
    """An asynchronous iterator over the sound of one request. Belongs to the event loop on which it was made."""

    def __init__(self, taken: Callable[[int], object], left: Callable[[], object]) -> None:
        """`taken` is called with the samples of each piece that was read, `left` when nobody wants the rest."""
        self.loop = asyncio.get_running_loop()
        self.times: GenerationTimes | None = None
        """Where the time went, once the last piece was read."""
        self._taken = taken
        self._left = left
        self._pieces: deque[Sound] = deque()
        self._end: GenerationTimes | Exception | None = None
        self._arrived = asyncio.Event()

    def deliver(self, event: Sound | GenerationTimes | Exception) -> None:
        """Takes the next piece, or what ends the stream. Called on the event loop."""
        if isinstance(event, np.ndarray):
            self._pieces.append(event)
        else:
            self._end = event
        if isinstance(event, SlowConsumer):  # whose unread sound is what there was too much of
            self._pieces.clear()
        self._arrived.set()

    def cancel(self) -> None:
        """Lets the rest be. Harmless after the end."""
        self._left()
        # They know the engine's side, which knows this one, as an error does by its traceback once it was raised: each
        # would keep the other, and what was not heard.
        self._taken = self._left = _nothing
        self._end = None

    def __aiter__(self) -> "SpeechStream":
        return self

    async def __anext__(self) -> Sound:
        """Returns the next piece; raises the error that ended the stream once the pieces before it were read."""
        while not self._pieces:
            if isinstance(self._end, Exception):
                raise self._end
            if self._end is not None:
                self.times = self._end
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        piece = self._pieces.popleft()
        self._taken(len(piece))
        return piece


def _nothing(_samples: int = 0) -> None:
    """Stands for what nobody is to be told any more."""
