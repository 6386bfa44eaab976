"""Discrete-event simulation of one pool's day: requests arrive, wait in the gateway, run or expire; a scaler acts."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.autoscale.fleet import Fleet
from benchmarks.autoscale.hpa import SYNC_SECONDS
from benchmarks.autoscale.replica import Replica
from benchmarks.autoscale.scaler import Scaler
from benchmarks.autoscale.trace import Arrival

SCRAPE_SECONDS = 15.0
SAMPLE_SECONDS = 60.0

Happening = Callable[[float], None]
"""An event's action; takes the time of the event."""


@dataclass(frozen=True)
class Patience:
    """Longest wait of a request in the gateway, in seconds: with a ready replica in the pool, and with none."""

    queue: float
    cold: float


@dataclass(frozen=True)
class Sample:
    """The state of the pool at one time."""

    time: float
    ready: int
    replicas: int
    queued: int


@dataclass
class Outcome:
    """The result of a day. `waits` has (start time, queueing time) in seconds of every request that started to run."""

    arrived: int = 0
    expired: int = 0
    finished: int = 0
    taken: int = 0
    """Requests accepted by a replica and not finished at the end of the day."""
    queued: int = 0
    gpu_hours: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Simulation:
    """One simulation; `run` may be called once."""

    def __init__(self, fleet: Fleet, scaler: Scaler, patience: Patience) -> None:
        self.outcome = Outcome()
        self._fleet = fleet
        self._scaler = scaler
        self._patience = patience
        self._queue: deque[Arrival] = deque()
        self._waiting: set[Arrival] = set()
        self._events: list[tuple[float, int, Happening]] = []
        self._order = itertools.count()
        self._scraped = 0.0

    def run(self, arrivals: Sequence[Arrival], seconds: float) -> Outcome:
        """Simulates this many seconds and returns the outcome."""
        self._fleet.scale(0.0, self._scaler.first, at_once=True)
        self._plan(SCRAPE_SECONDS, self._scrape)
        self._plan(SYNC_SECONDS, self._sync)
        self._plan(0.0, self._sample)
        for arrival in arrivals:
            self._until(arrival.time)
            self._arrive(arrival)
        self._until(seconds)
        outcome = self.outcome
        outcome.taken, outcome.queued = self._fleet.in_flight(), len(self._waiting)
        outcome.gpu_hours = self._fleet.gpu_seconds(seconds) / 3600
        return outcome

    def _until(self, time: float) -> None:
        while self._events and self._events[0][0] <= time:
            now, _, happening = heapq.heappop(self._events)
            happening(now)

    def _scrape(self, now: float) -> None:
        self._scraped = len(self._waiting) + self._fleet.in_flight()
        self._plan(now + SCRAPE_SECONDS, self._scrape)

    def _sync(self, now: float) -> None:
        wanted = self._scaler.replicas(now, self._fleet.desired, self._scraped)
        for replica in self._fleet.scale(now, wanted):
            self._plan(replica.ready_at, self._dispatch)
        self._plan(now + SYNC_SECONDS, self._sync)

    def _sample(self, now: float) -> None:
        ready, leaving = len(self._fleet.ready(now)), len(self._fleet.leaving)
        self.outcome.samples.append(Sample(now, ready, self._fleet.desired + leaving, len(self._waiting)))
        self._plan(now + SAMPLE_SECONDS, self._sample)

    def _arrive(self, arrival: Arrival) -> None:
        self.outcome.arrived += 1
        self._queue.append(arrival)
        self._waiting.add(arrival)
        self._dispatch(arrival.time)
        if arrival in self._waiting:
            warm = bool(self._fleet.ready(arrival.time))
            patience = self._patience.queue if warm else self._patience.cold
            self._plan(arrival.time + patience, partial(self._expire, arrival))

    def _dispatch(self, now: float) -> None:
        """Sends waiting requests to replicas with room, first come first served."""
        while self._queue:
            if self._queue[0] not in self._waiting:
                self._queue.popleft()  # expired
                continue
            replica = self._fleet.free(now)
            if replica is None:
                return
            arrival = self._queue.popleft()
            self._waiting.remove(arrival)
            self._begun(now, replica, replica.take(now, arrival))

    def _begun(self, now: float, replica: Replica, arrivals: Sequence[Arrival]) -> None:
        self.outcome.waits += [(now, now - arrival.time) for arrival in arrivals]
        if (following := replica.forecast(now)) is not None:
            self._plan(following, partial(self._end, replica, replica.version))

    def _end(self, replica: Replica, version: int, now: float) -> None:
        if version != replica.version:
            return  # outdated: its streams changed since, and a newer forecast exists
        self.outcome.finished += 1
        self._begun(now, replica, replica.end(now))
        if replica.leaving:
            self._fleet.collect(now)
        self._dispatch(now)

    def _expire(self, arrival: Arrival, _now: float) -> None:
        if arrival in self._waiting:
            self._waiting.remove(arrival)
            self.outcome.expired += 1

    def _plan(self, time: float, happening: Happening) -> None:
        heapq.heappush(self._events, (time, next(self._order), happening))
