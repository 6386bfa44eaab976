"""Few threads work at a time, of many that have something to do: who has worked for a while goes behind who waits."""

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

TURN_SECONDS = 0.005
"""As long as one thread of Python leaves another waiting."""


class Turns:
    """So many turns at a time, in the order in which they were asked for."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def worked(self) -> Generator[None]:
        """Waits for a turn and holds it, but where `give_way` is called within."""
        self._take()
        _MINE.turns, _MINE.since = self, time.monotonic()
        try:
            yield
        finally:
            _MINE.turns = None
            self._leave()

    def pass_on(self) -> None:
        """Lets those who wait have theirs first."""
        if self._waiting:
            self._leave()
            self._take()

    def _take(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # whose turn it is from now on
            else:
                self._free += 1


class _Mine(threading.local):
    turns: Turns | None = None
    since = 0.0


_MINE = _Mine()


def give_way() -> None:
    """To be called where a request may rest, such as between its texts. Does nothing in a thread without a turn."""
    if _MINE.turns is not None and time.monotonic() - _MINE.since > TURN_SECONDS:
        _MINE.turns.pass_on()
        _MINE.since = time.monotonic()
