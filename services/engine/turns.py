"""Few threads work at a time, of many that have something to do: who has worked for a while goes behind who waits."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TypeVar

from services.engine.freed_memory import FREED_MEMORY

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
        self._large = _Line(count)

    @contextmanager
    def worked(self, given_up: Callable[[], bool]) -> Generator[None]:
        """Waits for a turn and holds it, but where `give_way`, `restless` or `hold_much` is called within.

        Raises:
            CancelledError: before the turn, nobody wanted the work any more. The other calls raise it too.
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

    def enlarge(self) -> None:
        """Waits, without a turn, until there are fewer large works than turns."""
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
    """To be called where a request may rest, such as between its texts. Does nothing in a thread without a turn.

    Raises:
        CancelledError: nobody wants the work any more.
    """
    if _MINE.turns is None:
        return
    _check_wanted()
    if time.monotonic() - _MINE.since > TURN_SECONDS:
        _MINE.turns.pass_on()
        _MINE.since = time.monotonic()


def take_much() -> None:
    """To be called by what takes much memory for a while, such as a large image: that is given back behind the work."""
    _MINE.takes_much = True


def hold_much() -> None:
    """To be called before what takes many turns and holds much memory between them, such as a long recording.

    From then on to the end of the work it is one of as many as there are turns, so that what waits for others to rest
    holds little. Does nothing in a thread without a turn, or when called again. Raises what `give_way` raises.
    """
    if _MINE.turns is None or _MINE.holds_much:
        return
    take_much()
    _MINE.turns.enlarge()
    _MINE.holds_much, _MINE.since = True, time.monotonic()
    _check_wanted()


def resting(values: Iterable[T]) -> Iterator[T]:
    """Yields the values, of which there may be very many, and gives way between some."""
    for i, value in enumerate(values):
        if not i % _TOGETHER:
            give_way()
        yield value


@contextmanager
def restless(*, long: bool) -> Generator[None]:
    """Around what cannot rest meanwhile. Where it takes long, one at a time is let in, so that others find a turn.

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
    """Around what makes tokens of one text of so many characters, as `restless` is."""
    with restless(long=characters >= _MANY_CHARACTERS):
        yield
