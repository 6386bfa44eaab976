"""Queue of events for a stream's reader."""

import asyncio
from collections import deque

from services.speech.live.event import LiveEvent, Result


class Outbox:
    """An asynchronous iterator over events. A newer interim result replaces an unread one of the same utterance."""

    def __init__(self) -> None:
        self._events: deque[LiveEvent] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._arrived = asyncio.Event()

    def put(self, event: LiveEvent) -> None:
        """Appends an event."""
        if isinstance(event, Result) and self._events and _replaces(event, self._events[-1]):
            self._events.pop()
        self._events.append(event)
        self._arrived.set()

    def end(self, error: BaseException | None = None) -> None:
        """Ends the iteration after the last event, by `error` if given. Only the first call counts."""
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
                    self._error = None  # breaks the cycle: error -> traceback -> frames -> this outbox
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


def _replaces(new: Result, old: LiveEvent) -> bool:
    return isinstance(old, Result) and not old.final and old.utterance_index == new.utterance_index
