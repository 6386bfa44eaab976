"""The bounds of an engine's queue, and how long a request is likely to wait in it."""

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from sensorium.errors import DeadlineExceeded, ModelNotReady, QueueFull

_SAMPLES = 64
_RETRY_BOUNDS = (0.1, 60.0)


@dataclass(frozen=True)
class QueueLimits:
    """How many requests and tokens may wait for the model."""

    requests: int = 256
    tokens: int = 262_144


class Admission:
    """Counts what waits, refuses what exceeds the limits, and estimates the wait from how fast requests started lately.

    Called from the event loop (`enter`) and from the engine's thread (`leave`).
    """

    def __init__(self, limits: QueueLimits, *, unit: str = "tokens") -> None:
        """`unit` is what error messages call the things that QueueLimits counts as tokens."""
        self._unit = unit
        self._limits = limits
        self._lock = threading.Lock()
        self._gaps: deque[float] = deque(maxlen=_SAMPLES)  # seconds between starts while requests waited
        self._since = 0.0  # the last start, or when the queue began to fill
        self._preparing = 0
        self.requests = 0
        self.tokens = 0
        self.closed = False

    @contextmanager
    def preparing(self) -> Generator[None]:
        """Holds a place while a request is preprocessed, so that no more are in that stage than may wait.

        Raises:
            QueueFull: the limit of requests is reached.
        """
        with self._lock:
            if self.requests + self._preparing >= self._limits.requests:
                raise self._full()
            self._preparing += 1
        try:
            yield
        finally:
            with self._lock:
                self._preparing -= 1

    def enter(self, token_count: int, deadline: float | None) -> None:
        """Counts a request in.

        Raises:
            ModelNotReady: the engine is closing.
            QueueFull: the limit of requests or tokens is reached; holds an estimate of when to come back.
            DeadlineExceeded: the deadline has passed, or will have before the request's turn.
        """
        with self._lock:
            if self.closed:
                raise ModelNotReady("The service is shutting down.", retry_after=1.0)
            wait = self.expected_wait(token_count)
            if deadline is not None and time.monotonic() + wait > deadline:
                raise DeadlineExceeded(
                    f"The deadline would pass while waiting about {wait:.1f} s for a turn.",
                    metadata={"expectedWaitSeconds": f"{wait:.3f}"},
                )
            # An empty queue takes any request that fits the model, or a long prompt could never come in.
            if self.requests and (
                self.requests >= self._limits.requests or self.tokens + token_count > self._limits.tokens
            ):
                raise self._full()
            if not self.requests:
                self._since = time.monotonic()
            self.requests += 1
            self.tokens += token_count

    def leave(self, token_count: int, *, started: bool) -> None:
        """Counts a request out: because the model `started` on it, or because it was dropped."""
        with self._lock:
            self.requests -= 1
            self.tokens -= token_count
            if started:
                now = time.monotonic()
                self._gaps.append(now - self._since)
                self._since = now

    def come_back(self, token_count: int) -> None:
        """Counts a request in again that was started and then put back for others. It is never refused."""
        with self._lock:
            if not self.requests:
                self._since = time.monotonic()
            self.requests += 1
            self.tokens += token_count

    def _full(self) -> QueueFull:
        low, high = _RETRY_BOUNDS
        requests = self.requests + self._preparing
        return QueueFull(
            f"{requests} requests with {self.tokens} {self._unit} wait; at most {self._limits.requests} and "
            f"{self._limits.tokens} may.",
            metadata={"queuedRequests": str(requests), "queuedTokens": str(self.tokens)},
            retry_after=min(max(self.expected_wait(), low), high),
        )

    def expected_wait(self, _token_count: int | None = None, /) -> float:
        """Seconds until a request that comes now would start; 0 while none wait or too few started to tell."""
        if not self.requests or len(self._gaps) < 2:
            return 0.0
        # Only times in which requests waited tell how fast the queue moves.
        busy = sum(self._gaps) + time.monotonic() - self._since
        return self.requests * busy / len(self._gaps)
