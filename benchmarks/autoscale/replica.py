"""One replica: how fast its streams are, and when the next one ends."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.autoscale.trace import Arrival


@dataclass(frozen=True)
class Pace:
    """Tokens per second of each stream, `alone` and with a `full` replica; in between, a step's time grows evenly."""

    concurrency: int
    alone: float
    full: float

    def rate(self, running: int) -> float:
        """Returns each stream's tokens per second with so many running."""
        share = (running - 1) / max(self.concurrency - 1, 1)
        return 1 / (1 / self.alone + share * (1 / self.full - 1 / self.alone))


@dataclass(eq=False)
class Replica:
    """A pod. It holds its GPU from `created` until it is gone."""

    created: float
    ready_at: float
    pace: Callable[[int], float]
    leaving: bool = False
    version: int = 0
    """Changes with every change of what runs, so that older forecasts can be told."""
    _done: float = 0.0
    _at: float = 0.0
    _running: list[tuple[float, int, Arrival]] = field(default_factory=list)
    _order: itertools.count = field(default_factory=itertools.count)

    @property
    def in_flight(self) -> int:
        """How many streams run."""
        return len(self._running)

    def begin(self, now: float, arrival: Arrival) -> float:
        """Takes a request; returns when the next stream ends."""
        self._advance(now)
        heapq.heappush(self._running, (self._done + arrival.tokens, next(self._order), arrival))
        return self._forecast(now)

    def end(self, now: float) -> float | None:
        """Lets the stream go that ends now; returns when the next one does, None where none is left."""
        self._advance(now)
        heapq.heappop(self._running)
        return self._forecast(now) if self._running else None

    def _advance(self, now: float) -> None:
        """All streams are equally fast, so one sum of tokens stands for every one of them."""
        if self._running:
            self._done += (now - self._at) * self.pace(len(self._running))
        self._at = now
        self.version += 1

    def _forecast(self, now: float) -> float:
        return now + max(self._running[0][0] - self._done, 0.0) / self.pace(len(self._running))
