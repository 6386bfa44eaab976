"""How many calls may be tried again: a share of those that come, so that retries cannot double an overload."""

from collections.abc import Callable

_FLOOR_PER_SECOND = 1.0
_FIRST = 10.0
_MOST = 50.0


class RetryBudget:
    """A bucket that each call fills by `ratio` and each retry empties by 1.

    It also fills by one a second, so that rare calls may be tried again too. `clock` is monotonic.
    """

    def __init__(self, ratio: float, clock: Callable[[], float]) -> None:
        self._ratio = ratio
        self._clock = clock
        self._held = _FIRST
        self._filled = clock()

    def deposit(self) -> None:
        """Counts a call that came."""
        self._held = min(self._held + self._ratio, _MOST)

    def withdraw(self) -> bool:
        """Returns whether a call may be tried again, and counts it if so."""
        now = self._clock()
        self._held = min(self._held + (now - self._filled) * _FLOOR_PER_SECOND, _MOST)
        self._filled = now
        if not self._ratio or self._held < 1:
            return False
        self._held -= 1
        return True
