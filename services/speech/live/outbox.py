"""What a stream's caller is still to be told."""

import asyncio
from collections import deque

from services.speech.live.event import LiveEvent, Result


class Outbox:
    """An asynchronous iterator over events. An unread interim result is replaced by the next one."""

    def __init__(self) -> None:
        self._events: deque[LiveEvent] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._arrived = asyncio.Event()

    def put(self, event: LiveEvent) -> None:
        """Takes the next event."""
        if isinstance(event, Result) and self._events and _replaces(event, self._events[-1]):
            self._events.pop()
        self._events.append(event)
        self._arrived.set()

    def end(self, error: BaseException | None = None) -> None:
        """Lets the iteration end behind the last event, with an error if there is one. Only the first end counts."""
        if not self._ended:
            self._ended, self._error = True, error
            self._arrived.set()

    def __aiter__(self) -> "Outbox":
        return self

    async def __anext__(self) -> LiveEvent:
        while not self._events:
            if self._error is not None:
                try:
                    raise self._error
                finally:
                    self._error = None  # or it and its frames, in which the stream is, would keep each other
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


def _replaces(new: Result, old: LiveEvent) -> bool:
    return isinstance(old, Result) and not old.final and old.utterance_index == new.utterance_index
