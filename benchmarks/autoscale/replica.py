"""Simulates one replica: the speed of its streams, and when the next one ends."""

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from benchmarks.autoscale.trace import Arrival


@dataclass(frozen=True)
class Pace:
    """Tokens per second of a stream, `alone` and on a `full` replica. In between, step time is linear in streams."""

    concurrency: int
    alone: float
    full: float

    def rate(self, running: int) -> float:
        """Returns the tokens per second of each stream with this many running."""
        share = (running - 1) / max(self.concurrency - 1, 1)
        return 1 / (1 / self.alone + share * (1 / self.full - 1 / self.alone))


@dataclass(eq=False)
class Replica:
    """A pod. It holds its GPU from `created` until it is removed. Requests beyond its slots wait in it, in order."""

    created: float
    ready_at: float
    pace: Pace
    leaving: bool = False
    version: int = 0
    """Incremented when the set of running requests changes, which invalidates older forecasts."""
    _done: float = 0.0
    _at: float = 0.0
    _running: list[tuple[float, int, Arrival]] = field(default_factory=list)
    _waiting: deque[Arrival] = field(default_factory=deque)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def in_flight(self) -> int:
        """The number of its requests, running or waiting."""
        return len(self._running) + len(self._waiting)

    def take(self, now: float, arrival: Arrival) -> list[Arrival]:
        """Accepts a request; returns the requests that start running now."""
        self._advance(now)
        self._waiting.append(arrival)
        return self._fill()

    def end(self, now: float) -> list[Arrival]:
        """Removes the stream that ends now; returns the requests that start running in its place."""
        self._advance(now)
        heapq.heappop(self._running)
        return self._fill()

    def forecast(self, now: float) -> float | None:
        """Returns when the next stream ends, if nothing changes until then."""
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
        """Adds the tokens made since the last call: all streams are equally fast, so one sum serves all of them."""
        if self._running:
            self._done += (now - self._at) * self.pace.rate(len(self._running))
        self._at = now
        self.version += 1
