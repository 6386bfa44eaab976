"""What the engine's thread tells the event loop about one request, with a bound on what waits there."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable

from sensorium.errors import SlowConsumer
from services.engine.generation.output.message_pace import MessagePace
from services.engine.generation.requests.request import Completed, Delta, Event

_MOST_HELD = 64
"""Tokens of an output that wait for a message before they are handed over all the same."""


class GenerationStream:
    """An asynchronous iterator over one request's events. Belongs to the event loop on which it was made.

    Deltas of one candidate that nobody has read yet are merged, and so are those that come faster than `pace` allows.
    When more than `backlog_tokens` wait in all while the reader does something else, it is too slow: the stream ends
    with SlowConsumer and its rows are freed.
    """

    def __init__(self, *, backlog_tokens: int = 1024, pace: MessagePace | None = None, outputs: int = 1) -> None:
        self.loop = asyncio.get_running_loop()
        self._cancel: Callable[[], object] = _nothing
        self._events: dict[Hashable, Event] = {}  # by what they are about: a candidate, or the whole request
        self._error: Exception | None = None
        self._ended = False
        self._waiting_tokens = 0
        self._backlog_tokens = backlog_tokens
        self._pace = pace or MessagePace(0)
        self._pace.open += 1
        self._whole = False
        self.most_held = max(min(_MOST_HELD, backlog_tokens // (4 * outputs)), 1)
        """Tokens that may wait in each of its outputs, so that a reader who keeps up is never taken for slow."""
        self.due = 0.0
        """When the reader may have the next delta, on the clock of `time.monotonic`. May be asked by any thread."""
        self._take: Callable[[Delta], bool] | None = None
        self._reader: asyncio.Future[None] | None = None

    def on_cancel(self, cancel: Callable[[], object]) -> None:
        """Sets what `cancel` calls; it must be safe from any thread and after the end."""
        self._cancel = cancel

    def pass_to(self, take: Callable[[Delta], bool]) -> None:
        """Offers deltas to `take` while the reader waits; one that it takes (True) is read, and wakes nobody.

        What it raises is the reader's to find: it gets that delta. Without effect after the end.
        """
        if not self._ended:
            self._take = take

    def whole(self) -> "GenerationStream":
        """Returns the stream for a reader that sends nothing of it before its end.

        It does not count among those that share the messages, and its reader is woken for the end alone, or where half
        of what may wait is there.
        """
        if not self._whole and not self._ended:
            self._pace.open -= 1
        self._whole, self.due = True, math.inf
        return self

    def cancel(self) -> None:
        """Frees the request's rows within a step, of a stream that is not read any more. Harmless after the end."""
        self._end()
        # Both know this stream, one by the engine's side, one by its traceback: each would keep the other.
        cancel, self._cancel, self._error = self._cancel, _nothing, None
        cancel()

    def deliver(self, event: Event | Exception) -> None:
        """Takes the next event, or the error that ends the stream. Called on the event loop."""
        if self._ended:
            return
        if isinstance(event, Exception):
            self._error = event
            self._end()
        elif isinstance(event, Delta):
            if self._passed(event):
                return
            self._append(event)
        else:
            self._events[type(event)] = event
            if isinstance(event, Completed):
                self._end()
        self._stir()

    def __aiter__(self) -> "GenerationStream":
        return self

    async def __anext__(self) -> Event:
        """Returns the next event; raises the error that ended the stream once the events before it were read."""
        while not (self._ended or (self._events and self._turn())):
            self._reader = self.loop.create_future()
            self._stir()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._events:
            raise self._error or StopAsyncIteration
        event = self._events.pop(next(iter(self._events)))
        if isinstance(event, Delta):
            self._read(event)
        return event

    def _read(self, delta: Delta) -> None:
        self._waiting_tokens -= len(delta.token_ids)
        if not self._whole:
            self.due = self._pace.sent(time.monotonic())

    def _turn(self) -> bool:
        """Returns whether the last delta lies far enough behind."""
        if self._whole:
            return 2 * self._waiting_tokens >= self._backlog_tokens
        return self.due <= time.monotonic()

    def _stir(self) -> None:
        """Gives a reader who waits what it may have. What came too early waits for what comes next, as a rule."""
        if self._reader is None or self._reader.done():
            return
        while self._events and not self._ended and self._turn():
            if not self._pass():
                self._reader.set_result(None)
                return
        if self._ended:
            self._reader.set_result(None)
        elif self._events and not self._whole:
            self._pace.hold(self._stir)

    def _passed(self, delta: Delta) -> bool:
        """Returns whether a delta was taken for a reader who waits for nothing but it, as most are."""
        reader = self._reader
        if self._events or self._whole or self._take is None or reader is None or reader.done():
            return False
        now = time.monotonic()
        if self.due > now:
            return False
        if self._taken(delta):
            self.due = self._pace.sent(now)
            return True
        reader.set_result(None)
        return False

    def _pass(self) -> bool:
        """Returns whether the first event was taken for the reader."""
        about, event = next(iter(self._events.items()))
        if not isinstance(event, Delta) or not self._taken(event):
            return False
        del self._events[about]
        self._read(event)
        return True

    def _taken(self, delta: Delta) -> bool:
        try:
            return self._take is not None and self._take(delta)
        except Exception:
            return False

    def _end(self) -> None:
        if not self._ended:
            self._ended, self._take = True, None
            if not self._whole:
                self._pace.open -= 1
            self._stir()

    def _append(self, delta: Delta) -> None:
        self._waiting_tokens += len(delta.token_ids)
        # Who waits for an event is not slow: tokens without text leave all at once, of every candidate, with the end.
        if self._waiting_tokens > self._backlog_tokens and self._reader is None:
            self._events.clear()
            self.cancel()
            self._error = SlowConsumer(
                f"More than {self._backlog_tokens} generated tokens waited to be read. Read the stream faster, or ask "
                "for fewer tokens."
            )
        else:
            unread = self._events.get(delta.candidate_index)
            self._events[delta.candidate_index] = unread + delta if isinstance(unread, Delta) else delta


def _nothing() -> None:
    """Stands for what nobody is to be told."""
