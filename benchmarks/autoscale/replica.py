"""One replica: how fast its streams are, and when the next one ends."""

import heapq
import itertools
from collections import deque
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
    """A pod. It holds its GPU from `created` until it is gone. What it cannot run yet waits in it, in order."""

    created: float
    ready_at: float
    pace: Pace
    leaving: bool = False
    version: int = 0
    """Changes with every change of what runs, so that older forecasts can be told."""
    _done: float = 0.0
    _at: float = 0.0
    _running: list[tuple[float, int, Arrival]] = field(default_factory=list)
    _waiting: deque[Arrival] = field(default_factory=deque)
    _order: itertools.count = field(default_factory=itertools.count)

    @property
    def in_flight(self) -> int:
        """How many requests it has, running or not."""
        return len(self._running) + len(self._waiting)

    def take(self, now: float, arrival: Arrival) -> list[Arrival]:
        """Takes a request; returns those that begin to run now."""
        self._advance(now)
        self._waiting.append(arrival)
        return self._fill()

    def end(self, now: float) -> list[Arrival]:
        """Lets the stream go that ends now; returns those that begin to run in its place."""
        self._advance(now)
        heapq.heappop(self._running)
        return self._fill()

    def forecast(self, now: float) -> float | None:
        """Returns when the next stream ends, if nothing changes before."""
        if not self._running:
            return None
        return now + max(self._running[0][0] - self._done, 0.0) / self.pace.rate(len(self._running))

    def _fill(self) -> list[Arrival]:
        begun = []
        while self._waiting and len(self._running) < self.pace.concurrency:
            arrival = self._waiting.popleft()
            heapq.heappush(self._running, (self._done + arrival.tokens, next(self._order), arrival))
            begun.append(arrival)
        return begun

    def _advance(self, now: float) -> None:
        """All streams are equally fast, so one sum of tokens stands for every one of them."""
        if self._running:
            self._done += (now - self._at) * self.pace.rate(len(self._running))
        self._at = now
        self.version += 1
