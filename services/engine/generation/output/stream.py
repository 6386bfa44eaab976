"""What the engine's thread tells the event loop about one request, with a bound on what waits there."""

import asyncio
from collections.abc import Callable, Hashable

from sensorium.errors import SlowConsumer
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.requests.request import Completed, Delta, Event


class GenerationStream:
    """An asynchronous iterator over one request's events. Belongs to the event loop on which it was made.

    Deltas of one candidate that nobody has read yet are merged, and so are those that come faster than `pace` allows.
    When more than `backlog_tokens` wait in all, the reader is too slow: the stream ends with SlowConsumer and its rows
    are freed.
    """

    def __init__(self, *, backlog_tokens: int = 1024, pace: MessagePace | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self._cancel: Callable[[], object] = lambda: None
        self._events: dict[Hashable, Event] = {}  # by what they are about: a candidate, or the whole request
        self._error: Exception | None = None
        self._ended = False
        self._waiting_tokens = 0
        self._backlog_tokens = backlog_tokens
        self._arrived = asyncio.Event()
        self._pace = pace or MessagePace(0)
        self._pace.open += 1
        self._whole = False
        self._due = 0.0
        self._rest: asyncio.Future[None] | None = None

    def on_cancel(self, cancel: Callable[[], object]) -> None:
        """Sets what `cancel` calls; it must be safe from any thread and after the end."""
        self._cancel = cancel

    def whole(self) -> "GenerationStream":
        """Returns the stream for a reader that sends nothing of it before its end.

        It does not count among those that share the messages, and its reader is woken for the end alone, or where half
        of what may wait is there.
        """
        if not self._whole and not self._ended:
            self._pace.open -= 1
        self._whole = True
        return self

    def cancel(self) -> None:
        """Frees the request's rows within a step. Harmless after the end."""
        self._end()
        self._arrived.set()
        self._cancel()

    def deliver(self, event: Event | Exception) -> None:
        """Takes the next event, or the error that ends the stream. Called on the event loop."""
        if self._ended:
            return
        if isinstance(event, Exception):
            self._error = event
            self._end()
        elif isinstance(event, Delta):
            self._append(event)
        else:
            self._events[type(event)] = event
            if isinstance(event, Completed):
                self._end()
        self._arrived.set()

    def __aiter__(self) -> "GenerationStream":
        return self

    async def __anext__(self) -> Event:
        """Returns the next event; raises the error that ended the stream once the events before it were read."""
        await self._wait_for_turn()
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
            self._due = self.loop.time() + self._pace.gap_seconds
        return event

    async def _wait_for_turn(self) -> None:
        """Returns when the last delta lies far enough behind, or the stream has ended."""
        left = self._due - self.loop.time()
        if self._ended or (self._enough_waits() if self._whole else left <= 0):
            return
        self._rest = self.loop.create_future()
        timer = None if self._whole else self.loop.call_later(left, self._wake)
        try:
            await self._rest
        finally:
            if timer is not None:
                timer.cancel()
            self._rest = None

    def _enough_waits(self) -> bool:
        return 2 * self._waiting_tokens >= self._backlog_tokens

    def _wake(self) -> None:
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            if not self._whole:
                self._pace.open -= 1
            self._wake()

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
            if self._whole and self._enough_waits():
                self._wake()
