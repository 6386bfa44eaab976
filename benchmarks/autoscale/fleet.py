"""Simulates the replicas of a pool: slow starts, draining before removal, and GPU time from creation to removal."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.autoscale.replica import Pace, Replica


@dataclass(frozen=True)
class Starting:
    """Seconds until a new pod is ready: its node and image, then its weights; up to `jitter` times longer."""

    node: float = 20.0
    weights: float = 55.0
    jitter: float = 0.3

    def seconds(self, draws: random.Random) -> float:
        """Draws the start-up time of one pod, in seconds."""
        return (self.node + self.weights) * draws.uniform(1, 1 + self.jitter)


class Fleet:
    """The pods of a Deployment. `desired` excludes pods that are draining."""

    def __init__(self, pace: Pace, starting: Starting, seed: int, room: int | None = None) -> None:
        """Makes an empty fleet. A replica accepts `room` requests at once, by default as many as it can run."""
        self.pace = pace
        self.room = room or pace.concurrency
        self.staying: list[Replica] = []
        self.leaving: list[Replica] = []
        self._starting = starting
        self._draws = random.Random(seed)
        self._spent = 0.0

    @property
    def desired(self) -> int:
        """The number of pods wanted, ready or not."""
        return len(self.staying)

    def ready(self, now: float) -> list[Replica]:
        """Returns the replicas that accept requests."""
        return [replica for replica in self.staying if replica.ready_at <= now]

    def free(self, now: float) -> Replica | None:
        """Returns the ready replica with the fewest requests in flight; None if none has room."""
        least = min(self.ready(now), key=lambda replica: replica.in_flight, default=None)
        return least if least is not None and least.in_flight < self.room else None

    def scale(self, now: float, count: int, *, at_once: bool = False) -> list[Replica]:
        """Sets the number of pods and returns the new ones.

        Like a ReplicaSet, removes pods that are not ready first, then those that became ready last.
        """
        made = []
        for _ in range(count - len(self.staying)):
            seconds = 0.0 if at_once else self._starting.seconds(self._draws)
            made.append(Replica(now, now + seconds, self.pace))
        self.staying += made
        for _ in range(len(self.staying) - count):
            last = max(self.staying, key=lambda replica: replica.ready_at)
            self.staying.remove(last)
            last.leaving = True
            self.leaving.append(last)
        self.collect(now)
        return made

    def collect(self, now: float) -> None:
        """Removes draining replicas that have finished their requests."""
        gone = [replica for replica in self.leaving if not replica.in_flight]
        self._spent += _age(gone, now)
        self.leaving = [replica for replica in self.leaving if replica.in_flight]

    def in_flight(self) -> int:
        """Returns the number of requests on all replicas, draining ones included."""
        return sum(replica.in_flight for replica in (*self.staying, *self.leaving))

    def gpu_seconds(self, now: float) -> float:
        """Returns the GPU time of all replicas until now, in seconds."""
        return self._spent + _age((*self.staying, *self.leaving), now)


def _age(replicas: Iterable[Replica], now: float) -> float:
    return sum(now - replica.created for replica in replicas)
