"""The bounds of the batcher's queue, and how long a request is likely to wait in it."""

from services.engine.admission import Admission, QueueLimits

_SMOOTHING = 0.1


class BatchAdmission(Admission):
    """An Admission whose estimate knows that requests take turns: a short one does not wait for all of a long one."""

    def __init__(self, limits: QueueLimits, *, unit: str = "tokens") -> None:
        super().__init__(limits, unit=unit)
        self._seconds_per_unit = 0.0

    def observe(self, length: int, seconds: float) -> None:
        """Notes how long a batch took. Called from the batcher's thread."""
        latest, known = seconds / max(length, 1), self._seconds_per_unit
        self._seconds_per_unit = known + _SMOOTHING * (latest - known) if known else latest

    def expected_wait(self, token_count: int | None = None) -> float:
        """Seconds until the last item of a request of this size would start; None: of a request of any size."""
        before = self.tokens if token_count is None else min(self.tokens, token_count * self.requests)
        return before * self._seconds_per_unit
