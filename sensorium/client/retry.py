"""Which failures are tried again, how often, and after how long."""

import random
from dataclasses import dataclass

from sensorium.client.call import Call
from sensorium.errors import QueueFull, SensoriumError, Unavailable


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Repeats calls that met `Unavailable`. No RPC of the contract stores anything, so repeating is safe.

    A stream is repeated only before its first event arrived, one that the caller feeds never. The server's own
    `retry_after` is honoured; without one the wait doubles from `first_wait`. A wait longer than `longest_wait`, or
    past the call's deadline, is not begun: the error is raised at once. Times are in seconds.
    """

    attempts: int = 3
    """Calls at most, the first included. 1 never repeats."""
    first_wait: float = 0.2
    longest_wait: float = 10.0
    when_queue_full: bool = False
    """Repeats also after `QueueFull` that says when to come back."""

    def wait(self, error: SensoriumError, attempt: int, call: Call) -> float | None:
        """Returns the seconds to wait after `attempt` (from 1) failed with `error`, or None where it is final."""
        if attempt >= self.attempts or not self._admits(error):
            return None
        wait = self._pause(error.retry_after, attempt)
        remaining = call.remaining()
        if wait > self.longest_wait or (remaining is not None and wait >= remaining):
            return None
        return wait

    def _admits(self, error: SensoriumError) -> bool:
        if isinstance(error, QueueFull):
            return self.when_queue_full and error.retry_after is not None
        return isinstance(error, Unavailable)

    def _pause(self, retry_after: float | None, attempt: int) -> float:
        spread = random.random()  # noqa: S311 - spreads callers in time; not a secret
        if retry_after is not None:
            return retry_after * (1 + spread / 10)
        return min(self.longest_wait, self.first_wait * 2 ** (attempt - 1)) * (0.5 + spread / 2)


DEFAULT_RETRY = Retry()
