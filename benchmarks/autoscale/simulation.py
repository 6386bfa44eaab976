"""A day of one pool: requests come, wait in the gateway, run, or expire; a scaler looks now and then."""

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.autoscale.fleet import Fleet
from benchmarks.autoscale.hpa import SYNC_SECONDS
from benchmarks.autoscale.replica import Replica
from benchmarks.autoscale.scaler import Scaler
from benchmarks.autoscale.trace import Arrival

SCRAPE_SECONDS = 15.0
SAMPLE_SECONDS = 60.0
_END, _READY, _EXPIRE, _SCRAPE, _SYNC, _SAMPLE = range(6)


@dataclass(frozen=True)
class Patience:
    """How long a request waits in the gateway: while its pool has a ready replica, and while it has none."""

    queue: float
    cold: float


@dataclass(frozen=True)
class Sample:
    """What was at a time."""

    time: float
    ready: int
    replicas: int
    queued: int


@dataclass
class Outcome:
    """What came of a day. `waits` are those of all that began to run: when, and how long they had waited anywhere."""

    arrived: int = 0
    expired: int = 0
    finished: int = 0
    taken: int = 0
    """By a replica, and not finished at the end of the day."""
    queued: int = 0
    gpu_hours: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Simulation:
    """Runs once."""

    def __init__(self, fleet: Fleet, scaler: Scaler, patience: Patience) -> None:
        self.outcome = Outcome()
        self._fleet = fleet
        self._scaler = scaler
        self._patience = patience
        self._queue: deque[Arrival] = deque()
        self._waiting: set[Arrival] = set()
        self._events: list[tuple[float, int, int, object, int]] = []
        self._order = itertools.count()
        self._scraped = 0.0

    def run(self, arrivals: Sequence[Arrival], seconds: float) -> Outcome:
        """Returns the outcome after so long."""
        self._fleet.scale(0.0, self._scaler.first, at_once=True)
        for kind, first in ((_SCRAPE, SCRAPE_SECONDS), (_SYNC, SYNC_SECONDS), (_SAMPLE, 0.0)):
            self._plan(first, kind)
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
            now, _, kind, subject, version = heapq.heappop(self._events)
            if kind == _END:
                self._end(now, subject, version)
            elif kind == _READY:
                self._dispatch(now)
            elif kind == _EXPIRE:
                self._expire(subject)
            else:
                self._look(now, kind)

    def _look(self, now: float, kind: int) -> None:
        """Takes one of the turns that come at regular times."""
        if kind == _SCRAPE:
            self._scraped = len(self._waiting) + self._fleet.in_flight()
            self._plan(now + SCRAPE_SECONDS, kind)
        elif kind == _SYNC:
            wanted = self._scaler.replicas(now, self._fleet.desired, self._scraped)
            for replica in self._fleet.scale(now, wanted):
                self._plan(replica.ready_at, _READY)
            self._plan(now + SYNC_SECONDS, kind)
        else:
            ready, leaving = len(self._fleet.ready(now)), len(self._fleet.leaving)
            self.outcome.samples.append(Sample(now, ready, self._fleet.desired + leaving, len(self._waiting)))
            self._plan(now + SAMPLE_SECONDS, kind)

    def _arrive(self, arrival: Arrival) -> None:
        self.outcome.arrived += 1
        self._queue.append(arrival)
        self._waiting.add(arrival)
        self._dispatch(arrival.time)
        if arrival in self._waiting:
            warm = bool(self._fleet.ready(arrival.time))
            patience = self._patience.queue if warm else self._patience.cold
            self._plan(arrival.time + patience, _EXPIRE, arrival)

    def _dispatch(self, now: float) -> None:
        """Begins what waits, first come first served, for as long as a replica has room."""
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
            self._plan(following, _END, replica, replica.version)

    def _end(self, now: float, replica: object, version: int) -> None:
        assert isinstance(replica, Replica)
        if version != replica.version:
            return  # something began or ended there since, and a newer forecast stands
        self.outcome.finished += 1
        self._begun(now, replica, replica.end(now))
        if replica.leaving:
            self._fleet.collect(now)
        self._dispatch(now)

    def _expire(self, arrival: object) -> None:
        if arrival in self._waiting:
            self._waiting.remove(arrival)
            self.outcome.expired += 1

    def _plan(self, time: float, kind: int, subject: object = None, version: int = 0) -> None:
        heapq.heappush(self._events, (time, next(self._order), kind, subject, version))
