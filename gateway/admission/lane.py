"""The queue of one model of one pool, and statistics of its running calls, from which waits are estimated."""

from gateway.admission.ask import Ask
from gateway.admission.line import Line
from gateway.admission.mean import Mean
from gateway.admission.settings import AdmissionSettings
from gateway.admission.shares import Shares
from sensorium.errors import DeadlineExceeded, QueueFull

_RETRY_SECONDS = 1.0
_SOONEST_SECONDS = 0.1


class Lane:
    """The waiting and running calls for one model of one pool."""

    def __init__(self, pool: str, model: str, settings: AdmissionSettings) -> None:
        self.pool = pool
        self.model = model
        self.running = 0
        """Slots that running calls occupy."""
        self.shares = Shares()
        self.line = Line(self.shares)
        self.seconds = Mean()
        """Mean seconds for which a call occupies its slot."""
        self.tokens = Mean()
        """Mean tokens of a call, over calls that report usage."""
        self._settings = settings

    def wait(self, ahead: int) -> float | None:
        """Estimates the wait in seconds of a call with `ahead` calls before it; None without enough measurements.

        While calls wait, all slots are occupied, so a slot becomes free each time a running call ends.
        """
        if self.seconds.value is None or not self.running:
            return None
        return (ahead + 1) * self.seconds.value / self.running

    def check(self, ask: Ask, now: float, remaining: float | None) -> None:
        """Checks whether a call may wait; `remaining` is the time to its deadline in seconds.

        Raises:
            QueueFull: too many calls, or too many bytes, are waiting already.
            DeadlineExceeded: the estimated wait is longer than `remaining`.
        """
        line, settings = self.line, self._settings
        if len(line) >= settings.queue_requests or line.size + ask.size > settings.queue_bytes:
            raise self.full(f"{len(line)} requests of {line.size} bytes are waiting.")
        expected = self.wait(line.ahead(ask, now))
        if remaining is not None and expected is not None and expected > remaining:
            raise DeadlineExceeded(f"The deadline is in {remaining:.1f} s, and the queue takes about {expected:.1f} s.")

    def full(self, message: str) -> QueueFull:
        """Returns a QueueFull whose retry delay is the estimated time until the queue is empty."""
        expected = self.wait(len(self.line))
        retry_after = _RETRY_SECONDS if expected is None else max(expected, _SOONEST_SECONDS)
        return QueueFull(message, metadata={"queueDepth": str(len(self.line))}, retry_after=retry_after)
