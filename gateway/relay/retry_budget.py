"""Limits retries to a share of the calls that arrive, so that retries cannot double an overload."""

from collections.abc import Callable

_FLOOR_PER_SECOND = 1.0
_FIRST = 10.0
_MOST = 50.0


class RetryBudget:
    """A token bucket: each call adds `ratio`, each retry takes 1. A `ratio` of 0 allows no retries.

    It also gains one per second, so that calls may be retried at low load. `clock` is monotonic, in seconds.
    """

    def __init__(self, ratio: float, clock: Callable[[], float]) -> None:
        self._ratio = ratio
        self._clock = clock
        self._held = _FIRST
        self._filled = clock()

    def deposit(self) -> None:
        """Counts a call that arrived."""
        self._held = min(self._held + self._ratio, _MOST)

    def withdraw(self) -> bool:
        """Returns whether a call may be retried, and counts the retry if so."""
        now = self._clock()
        self._held = min(self._held + (now - self._filled) * _FLOOR_PER_SECOND, _MOST)
        self._filled = now
        if not self._ratio or self._held < 1:
            return False
        self._held -= 1
        return True
