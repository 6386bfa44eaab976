"""The calls for one model of one pool: those that wait, and what is known of those that run."""

from gateway.admission.ask import Ask
from gateway.admission.line import Line
from gateway.admission.mean import Mean
from gateway.admission.shares import Shares
from gateway.admission_settings import AdmissionSettings
from sensorium.errors import DeadlineExceeded, QueueFull

_RETRY_SECONDS = 1.0
_SOONEST_SECONDS = 0.1


class Lane:
    """One model of one pool, in which calls have been or will be."""

    def __init__(self, pool: str, model: str, settings: AdmissionSettings) -> None:
        self.pool = pool
        self.model = model
        self.running = 0
        """Calls that endpoints of the pool work on."""
        self.shares = Shares()
        self.line = Line(self.shares)
        self.seconds = Mean()
        """How long calls hold a slot."""
        self.tokens = Mean()
        """What calls cost, of those that told."""
        self._settings = settings

    def wait(self, ahead: int) -> float | None:
        """Returns about how long a call waits that has so many before it; None where that cannot be told.

        While calls wait, all slots are taken, and one becomes free each time one of the running calls ends.
        """
        if self.seconds.value is None or not self.running:
            return None
        return (ahead + 1) * self.seconds.value / self.running

    def check(self, ask: Ask, now: float, remaining: float | None) -> None:
        """Refuses a call that may not, or need not, wait.

        Raises:
            QueueFull: too many calls, or too many bytes of them, wait already.
            DeadlineExceeded: it would most likely be too late.
        """
        line, settings = self.line, self._settings
        if len(line) >= settings.queue_requests or line.size + ask.size > settings.queue_bytes:
            raise self.full(f"{len(line)} requests of {line.size} bytes are waiting.")
        expected = self.wait(line.ahead(ask, now))
        if remaining is not None and expected is not None and expected > remaining:
            raise DeadlineExceeded(f"The deadline is in {remaining:.1f} s, and the queue takes about {expected:.1f} s.")

    def full(self, message: str) -> QueueFull:
        """Returns the error of a queue that takes no more, with the queue's own estimate of when it is empty."""
        expected = self.wait(len(self.line))
        retry_after = _RETRY_SECONDS if expected is None else max(expected, _SOONEST_SECONDS)
        return QueueFull(message, metadata={"queueDepth": str(len(self.line))}, retry_after=retry_after)
