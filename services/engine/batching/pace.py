"""Learns how long batches take by their length, and decides how much of the queue the next batch takes."""

from dataclasses import replace
from math import ceil

from services.engine.batching.queue import BatchLimits

_KEPT = 0.98
"""Decay of the statistics per batch: about the last fifty batches count."""
_ENOUGH = 16.0
"""Effective number of batches needed before the fit is used."""
_ALIKE = 0.01
"""Variance of lengths over the squared mean below which lengths are too alike for a fit."""
_WASTED = 1 / 16
"""Largest share of a batch's time that may be fixed overhead if a longer batch was possible."""


class BatchPace:
    """Fits seconds = fixed + each * length to the latest batches. Belongs to the batcher's thread."""

    def __init__(self) -> None:
        self._count = self._lengths = self._seconds = self._squares = self._products = 0.0

    def observe(self, length: int, seconds: float) -> None:
        """Adds the length and the seconds of a batch to the statistics."""
        self._count = self._count * _KEPT + 1
        self._lengths = self._lengths * _KEPT + length
        self._seconds = self._seconds * _KEPT + seconds
        self._squares = self._squares * _KEPT + length * length
        self._products = self._products * _KEPT + length * seconds

    def limits(self, most: BatchLimits, requests: int, waiting: int) -> BatchLimits:
        """Returns the limits of the next batch when `requests` requests of `waiting` total length are queued.

        A batch takes half of the queue: the first half is answered sooner, and new requests can join the second. It is
        never so short that fixed overhead wastes time. It takes the whole queue if the overhead is unknown, or if there
        is only one request, which needs all of its items anyway.
        """
        least = self._least() if requests > 1 else None
        return most if least is None else replace(most, length=min(most.length, max(least, ceil(waiting / 2))))

    def _least(self) -> int | None:
        """Returns the shortest length whose share of fixed overhead is at most _WASTED; None if unknown."""
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
