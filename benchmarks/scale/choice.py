"""Simulates load balancing by many independent gateways over replicas with their own queues.

Each gateway sends a request to the replica with the fewest of its own requests in flight (ties at random), like
`gateway.catalog`; it does not see the other gateways' requests. A replica runs `slots` requests at once and queues the
rest.
"""

import heapq
import itertools
import random
from dataclasses import dataclass

import numpy as np

from gateway.endpoints.part import Part

_SECONDS = 10.0
"""Mean seconds of a request, lognormal: the longest twentieth takes as much time as all others together."""
_SPREAD = 1.2


@dataclass(frozen=True)
class Shape:
    """A deployment and its load.

    A gateway chooses among all replicas; or, with `sharing`, among its subset by `gateway.part`, in which each replica
    belongs to `sharing` gateways; or among `drawn` random replicas. `blind` gateways choose at random. `told` gateways
    learn, at the end of each request, how many requests of other gateways the replica has. `skew` is the standard
    deviation of the logarithm of the gateways' shares of the requests.
    """

    gateways: int
    replicas: int
    slots: int = 16
    load: float = 0.85
    sharing: int = 0
    drawn: int = 0
    blind: bool = False
    told: bool = False
    skew: float = 0.0


@dataclass(frozen=True)
class _Replica:
    number: int

    @property
    def address(self) -> str:
        return f"10.0.{self.number // 256}.{self.number % 256}:50051"


@dataclass(frozen=True)
class Waits:
    """Queueing times on the replicas, in seconds."""

    waited: float
    """Share of requests that waited."""
    p50: float
    p99: float


def waits(shape: Shape, seconds: float, seed: int) -> Waits:
    """Simulates this many seconds and returns the waits of the requests that arrive in the second half."""
    draws, numbers = random.Random(seed), np.random.default_rng(seed)
    mine = _subsets(shape, draws)
    local, theirs = (np.zeros((shape.gateways, shape.replicas), dtype=np.int32) for _ in range(2))
    running, queues = [0] * shape.replicas, [_queue() for _ in range(shape.replicas)]
    ends: list[tuple[float, int, int, int]] = []
    order = itertools.count()
    found: list[float] = []
    shares = [draws.lognormvariate(0, shape.skew) for _ in range(shape.gateways)]
    callers = iter(lambda: draws.choices(range(shape.gateways), shares, k=4096), None)
    sender = (gateway for chunk in callers for gateway in chunk)
    now, rate = 0.0, shape.load * shape.replicas * shape.slots / _SECONDS

    def begin(at: float, came: float, gateway: int, replica: int) -> None:
        running[replica] += 1
        if came > seconds / 2:
            found.append(at - came)
        heapq.heappush(ends, (at + _time(draws), next(order), gateway, replica))

    while (now := now + draws.expovariate(rate)) < seconds:
        while ends and ends[0][0] <= now:
            at, _, gateway, replica = heapq.heappop(ends)
            running[replica] -= 1
            local[gateway, replica] -= 1
            if shape.told:
                theirs[gateway, replica] = running[replica] + len(queues[replica]) - local[gateway, replica]
            if queues[replica]:
                begin(at, *queues[replica].pop(0), replica)
        gateway = next(sender)
        replica = _chosen(shape, local[gateway] + theirs[gateway], mine[gateway], numbers)
        local[gateway, replica] += 1
        if running[replica] < shape.slots:
            begin(now, now, gateway, replica)
        else:
            queues[replica].append((now, gateway))
    return _summed(found)


def _chosen(shape: Shape, seen: np.ndarray, mine: np.ndarray, numbers: np.random.Generator) -> int:
    if shape.blind:
        return int(numbers.choice(mine))
    own = seen[mine]
    return int(mine[numbers.choice(np.flatnonzero(own == own.min()))])


def _subsets(shape: Shape, draws: random.Random) -> list[np.ndarray]:
    if shape.drawn:
        return [np.array(draws.sample(range(shape.replicas), shape.drawn)) for _ in range(shape.gateways)]
    if not shape.sharing:
        return [np.arange(shape.replicas)] * shape.gateways
    replicas = [_Replica(number) for number in range(shape.replicas)]
    parts = (Part(place, shape.gateways, shape.sharing).cut(replicas)[0] for place in range(shape.gateways))
    return [np.array([replica.number for replica in part]) for part in parts]


def _queue() -> list[tuple[float, int]]:
    return []


def _time(draws: random.Random) -> float:
    return _SECONDS * draws.lognormvariate(-_SPREAD * _SPREAD / 2, _SPREAD)


def _summed(found: list[float]) -> Waits:
    sorted_waits = np.sort(found)
    return Waits(float(np.mean(sorted_waits > 0)), *(float(np.quantile(sorted_waits, share)) for share in (0.5, 0.99)))
