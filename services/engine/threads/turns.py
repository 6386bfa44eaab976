"""Cooperative scheduling of threads: few of many work at a time, and a thread gives way after a while."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TypeVar

from services.engine.threads.freed_memory import FREED_MEMORY

T = TypeVar("T")

TURN_SECONDS = 0.005
"""How long a thread works before it gives way: Python's own switch interval."""
_MANY_CHARACTERS = 8_192
"""A tokenizer takes about a turn for a text of this length, and cannot give way within it."""
_TOGETHER = 256
"""Values that `resting` yields between two checks; their work should take less than a tenth of a turn."""


class _Line:
    """A fair semaphore: serves waiting threads in order of arrival."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def waited_in(self) -> bool:
        """Whether a thread waits for a place."""
        return bool(self._waiting)

    def take(self) -> None:
        """Waits for a place."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def leave(self) -> None:
        """Gives a place back."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # the place passes directly to that thread
            else:
                self._free += 1


class Turns:
    """Lets `count` threads work at a time, first come first served. Only one may do work that cannot pause."""

    def __init__(self, count: int) -> None:
        self._line = _Line(count)
        self._restless = _Line(1)
        self._large = _Line(count)

    @contextmanager
    def worked(self, given_up: Callable[[], bool]) -> Generator[None]:
        """Waits for a turn and holds it; `give_way`, `restless` and `hold_much` release it for a while.

        Raises:
            CancelledError: `given_up` returned True: nobody waits for the result. The other three raise it too.
        """
        self._line.take()
        _MINE.turns, _MINE.since, _MINE.given_up = self, time.monotonic(), given_up
        _MINE.takes_much = _MINE.holds_much = False
        try:
            _check_wanted()
            yield
        finally:
            _MINE.turns = None
            if _MINE.holds_much:
                self._large.leave()
            self._line.leave()
            if _MINE.takes_much:
                FREED_MEMORY.used()

    def pass_on(self) -> None:
        """Releases the turn to those who wait, and waits for another."""
        if self._line.waited_in:
            self._line.leave()
            self._line.take()

    @contextmanager
    def restless(self) -> Generator[None]:
        """Waits, without holding a turn, until no other thread is within `restless`."""
        self._line.leave()
        self._restless.take()
        self._line.take()
        try:
            yield
        finally:
            self._restless.leave()

    def enlarge(self) -> None:
        """Waits, without holding a turn, until fewer than `count` threads hold much memory."""
        self._line.leave()
        self._large.take()
        self._line.take()


class _Mine(threading.local):
    turns: Turns | None = None
    since = 0.0
    given_up: Callable[[], bool] = bool
    takes_much = False
    holds_much = False


_MINE = _Mine()


def _check_wanted() -> None:
    if _MINE.given_up():
        raise CancelledError


def give_way() -> None:
    """To be called where work may pause, such as between texts. Does nothing in a thread without a turn.

    No lock may be held meanwhile: those who have the turns may wait for it, and then all wait for ever.

    Raises:
        CancelledError: the result is not wanted any more.
    """
    if _MINE.turns is None:
        return
    _check_wanted()
    if time.monotonic() - _MINE.since > TURN_SECONDS:
        _MINE.turns.pass_on()
        _MINE.since = time.monotonic()


def take_much() -> None:
    """To be called before work on large media: its memory is returned to the system afterwards. See FreedMemory."""
    _MINE.takes_much = True


def hold_much() -> None:
    """To be called before work that takes many turns and holds much memory between them, as on a long recording.

    Only as many threads as there are turns may do such work at a time, so that waiting threads hold little memory.
    Does nothing in a thread without a turn, or when called again. Raises what `give_way` raises.
    """
    if _MINE.turns is None or _MINE.holds_much:
        return
    take_much()
    _MINE.turns.enlarge()
    _MINE.holds_much, _MINE.since = True, time.monotonic()
    _check_wanted()


def resting(values: Iterable[T]) -> Iterator[T]:
    """Yields the values, and gives way from time to time: for very many values with little work for each."""
    for i, value in enumerate(values):
        if not i % _TOGETHER:
            give_way()
        yield value


@contextmanager
def restless(*, long: bool) -> Generator[None]:
    """Encloses work that cannot give way. If it is `long`, one thread at a time may do it, so that others find a turn.

    Does nothing in a thread without a turn. Raises what `give_way` raises.
    """
    turns = _MINE.turns
    if turns is None or not long:
        give_way()
        yield
        return
    with turns.restless():
        _MINE.since = time.monotonic()
        _check_wanted()
        yield


@contextmanager
def tokenizing(characters: int) -> Generator[None]:
    """Encloses the tokenizing of one text of so many characters; see `restless`."""
    with restless(long=characters >= _MANY_CHARACTERS):
        yield
