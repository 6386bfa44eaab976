"""Few threads work at a time, of many that have something to do: who has worked for a while goes behind who waits."""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

TURN_SECONDS = 0.005
"""As long as one thread of Python leaves another waiting."""
_MANY_CHARACTERS = 8_192
"""Of which a tokenizer needs as long as a turn may last, and there is no resting meanwhile."""
_TOGETHER = 256
"""Values taken between two rests; with as little work as there is for one, less than a tenth of a turn."""


class _Line:
    """So many places, in the order in which they were asked for."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def waited_in(self) -> bool:
        """Whether somebody waits for a place."""
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
                self._waiting.popleft().set()  # whose place it is from now on
            else:
                self._free += 1


class Turns:
    """So many turns at a time, in the order in which they were asked for; one of them for work that cannot rest."""

    def __init__(self, count: int) -> None:
        self._line = _Line(count)
        self._restless = _Line(1)

    @contextmanager
    def worked(self) -> Generator[None]:
        """Waits for a turn and holds it, but where `give_way` or `tokenizing` is called within."""
        self._line.take()
        _MINE.turns, _MINE.since = self, time.monotonic()
        try:
            yield
        finally:
            _MINE.turns = None
            self._line.leave()

    def pass_on(self) -> None:
        """Lets those who wait have theirs first."""
        if self._line.waited_in:
            self._line.leave()
            self._line.take()

    @contextmanager
    def restless(self) -> Generator[None]:
        """Waits, without a turn, until no other turn is held so."""
        self._line.leave()
        self._restless.take()
        self._line.take()
        try:
            yield
        finally:
            self._restless.leave()


class _Mine(threading.local):
    turns: Turns | None = None
    since = 0.0


_MINE = _Mine()


def give_way() -> None:
    """To be called where a request may rest, such as between its texts. Does nothing in a thread without a turn."""
    if _MINE.turns is not None and time.monotonic() - _MINE.since > TURN_SECONDS:
        _MINE.turns.pass_on()
        _MINE.since = time.monotonic()


def resting(values: Iterable[T]) -> Iterator[T]:
    """Yields the values, of which there may be very many, and gives way between some."""
    for i, value in enumerate(values):
        if not i % _TOGETHER:
            give_way()
        yield value


@contextmanager
def tokenizing(characters: int) -> Generator[None]:
    """Around what makes tokens of one text of so many characters, which cannot rest meanwhile.

    Of long texts it lets in one at a time, so that short ones find a turn. Does nothing in a thread without a turn.
    """
    turns = _MINE.turns
    if turns is None or characters < _MANY_CHARACTERS:
        give_way()
        yield
        return
    with turns.restless():
        _MINE.since = time.monotonic()
        yield
