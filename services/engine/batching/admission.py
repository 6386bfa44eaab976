"""How much may wait for the batcher, and how long it is likely to."""

from services.engine.admission import Admission, QueueLimits

_KEPT = 0.9
"""Share of what was measured before that counts beside the next batch."""


class BatchAdmission(Admission):
    """An Admission whose estimate knows that requests take turns: a short one does not wait for all of a long one.

    Nor does it wait for what the model has begun and left, but by the turns that this takes.
    """

    def __init__(self, limits: QueueLimits, *, unit: str = "tokens") -> None:
        super().__init__(limits, unit=unit)
        self._seconds = 0.0
        self._length = 0.0
        self._unbegun = 0
        """Units of the requests that have items which the model has not begun."""
        self._unbegun_requests = 0

    def enter(self, token_count: int, deadline: float | None) -> None:
        """See Admission."""
        super().enter(token_count, deadline)
        with self._lock:
            self._unbegun += token_count
            self._unbegun_requests += 1

    def begin(self, token_count: int) -> None:
        """Notes that all items of a request of this size are begun, or that it waits no more. For any thread."""
        with self._lock:
            self._unbegun -= token_count
            self._unbegun_requests -= 1

    def observe(self, length: int, seconds: float) -> None:
        """Notes how long a batch of new items took, or with length 0 how long they waited for one of what was begun.

        Called from the batcher's thread.
        """
        kept = _KEPT if length else 1.0
        self._seconds = kept * self._seconds + seconds
        self._length = kept * self._length + length

    def expected_wait(self, token_count: int | None = None) -> float:
        """Seconds until the last item of a request of this size would start; of any size if it is None."""
        if not self._length:
            return 0.0
        waiting, requests = self._unbegun, self._unbegun_requests
        before = waiting if token_count is None else min(waiting, token_count * requests)
        return before * self._seconds / self._length
