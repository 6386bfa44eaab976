"""What the engine's thread tells the event loop about one request, with a bound on what waits there."""

import asyncio
from collections.abc import Callable, Hashable

from sensorium.errors import SlowConsumer
from services.engine.generation.request import Completed, Delta, Event


class GenerationStream:
    """An asynchronous iterator over one request's events. Belongs to the event loop on which it was made.

    Deltas of one candidate that nobody has read yet are merged. When more than `backlog_tokens` wait in all, the reader
    is too slow: the stream ends with SlowConsumer and its rows are freed.
    """

    def __init__(self, *, backlog_tokens: int = 1024) -> None:
        self.loop = asyncio.get_running_loop()
        self._cancel: Callable[[], None] = lambda: None
        self._events: dict[Hashable, Event] = {}  # by what they are about: a candidate, or the whole request
        self._error: Exception | None = None
        self._ended = False
        self._waiting_tokens = 0
        self._backlog_tokens = backlog_tokens
        self._arrived = asyncio.Event()

    def on_cancel(self, cancel: Callable[[], None]) -> None:
        """Sets what `cancel` calls; it must be safe from any thread and after the end."""
        self._cancel = cancel

    def cancel(self) -> None:
        """Frees the request's rows within a step. Harmless after the end."""
        self._ended = True
        self._arrived.set()
        self._cancel()

    def deliver(self, event: Event | Exception) -> None:
        """Takes the next event, or the error that ends the stream. Called on the event loop."""
        if self._ended:
            return
        if isinstance(event, Exception):
            self._error, self._ended = event, True
        elif isinstance(event, Delta):
            self._append(event)
        else:
            self._events[type(event)] = event
            self._ended = isinstance(event, Completed)
        self._arrived.set()

    def __aiter__(self) -> "GenerationStream":
        return self

    async def __anext__(self) -> Event:
        """Returns the next event; raises the error that ended the stream once the events before it were read."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.pop(next(iter(self._events)))
        if isinstance(event, Delta):
            self._waiting_tokens -= len(event.token_ids)
        return event

    def _append(self, delta: Delta) -> None:
        self._waiting_tokens += len(delta.token_ids)
        if self._waiting_tokens > self._backlog_tokens:
            self._events.clear()
            self._error = SlowConsumer(
                f"More than {self._backlog_tokens} generated tokens waited to be read. Read the stream faster, or ask "
                "for fewer tokens."
            )
            self.cancel()
        else:
            unread = self._events.get(delta.candidate_index)
            self._events[delta.candidate_index] = unread + delta if isinstance(unread, Delta) else delta
