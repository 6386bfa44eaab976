"""How long batches take by their length, and which part of what waits the next one takes."""

from dataclasses import replace
from math import ceil

from services.engine.batching.queue import BatchLimits

_KEPT = 0.98
"""Of what is known when another batch is done: some fifty of them count."""
_ENOUGH = 16.0
"""Batches that must count before anything is concluded."""
_ALIKE = 0.01
"""Squared deviation of their lengths, by the square of the mean, below which they say nothing of other lengths."""
_WASTED = 1 / 16
"""Share of a batch's time that may be what every batch takes, however short, where a longer one was to be had."""


class BatchPace:
    """Fits seconds = fixed + each * length to the latest batches. Belongs to the batcher's thread."""

    def __init__(self) -> None:
        self._count = self._lengths = self._seconds = self._squares = self._products = 0.0

    def observe(self, length: int, seconds: float) -> None:
        """Notes how long a batch took."""
        self._count = self._count * _KEPT + 1
        self._lengths = self._lengths * _KEPT + length
        self._seconds = self._seconds * _KEPT + seconds
        self._squares = self._squares * _KEPT + length * length
        self._products = self._products * _KEPT + length * seconds

    def limits(self, most: BatchLimits, requests: int, waiting: int) -> BatchLimits:
        """Returns the limits of the next batch where so many requests wait, `waiting` long together.

        It takes half of that: who is in it need not wait for the others, and those who come meanwhile join them. But it
        is not so short that the model would waste time; where that is not known it takes all, and of a single request,
        which is answered when its last item is done.
        """
        least = self._least() if requests > 1 else None
        return most if least is None else replace(most, length=min(most.length, max(least, ceil(waiting / 2))))

    def _least(self) -> int | None:
        """Returns the length of the shortest batch that wastes no more than it may; None if that is not known."""
        if self._count < _ENOUGH:
            return None
        length, seconds = self._lengths / self._count, self._seconds / self._count
        deviation = self._squares / self._count - length * length
        if deviation <= _ALIKE * length * length:
            return None
        each = (self._products / self._count - length * seconds) / deviation
        if each <= 0.0:
            return None
        return ceil(max(seconds - each * length, 0.0) * (1 / _WASTED - 1) / each)
