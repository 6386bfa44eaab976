"""How much may wait for the batcher, and how long it is likely to."""

from services.engine.admission import Admission, QueueLimits

_KEPT = 0.9
"""Decay of earlier measurements at each batch."""


class BatchAdmission(Admission):
    """An Admission that knows that requests take turns: a short one does not wait for all of a long one.

    Nor does it wait for begun but unfinished items, except for the turns that these take.
    """

    def __init__(self, limits: QueueLimits, *, unit: str = "tokens") -> None:
        super().__init__(limits, unit=unit)
        self._seconds = 0.0
        self._length = 0.0
        self._unbegun = 0
        """Units of the requests that still have items which the model has not begun."""
        self._unbegun_requests = 0

    def enter(self, token_count: int, deadline: float | None) -> None:
        """See Admission."""
        super().enter(token_count, deadline)
        with self._lock:
            self._unbegun += token_count
            self._unbegun_requests += 1

    def begin(self, token_count: int) -> None:
        """Notes that all items of a request of this size are begun, or that it left the queue. Thread-safe."""
        with self._lock:
            self._unbegun -= token_count
            self._unbegun_requests -= 1

    def observe(self, length: int, seconds: float) -> None:
        """Notes the seconds of a batch of new items; with length 0, the seconds new items waited for a begun batch.

        Called from the batcher's thread.
        """
        kept = _KEPT if length else 1.0
        self._seconds = kept * self._seconds + seconds
        self._length = kept * self._length + length

    def expected_wait(self, token_count: int | None = None) -> float:
        """Estimates the seconds until the last item of a request of this size starts; None: of any size, at most."""
        if not self._length:
            return 0.0
        waiting, requests = self._unbegun, self._unbegun_requests
        before = waiting if token_count is None else min(waiting, token_count * requests)
        return before * self._seconds / self._length
