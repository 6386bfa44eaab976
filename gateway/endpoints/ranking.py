"""Endpoints sorted by load, updated as calls begin and end, so that finding the least loaded ones is cheap."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway.endpoints.router import EndpointState


class RankedEndpoint(Protocol):
    """The properties of an endpoint that a ranking reads."""

    @property
    def state(self) -> EndpointState:
        """Whether it can be used."""
        ...

    @property
    def settled(self) -> bool:
        """Whether time alone cannot change its state or load: it is not ejected, in slow start or full."""
        ...


RankedT = TypeVar("RankedT", bound=RankedEndpoint)


class Ranking(Generic[RankedT]):
    """Endpoints sorted by `load_of`. The load of an endpoint that is not settled is computed at each query.

    Call `place` for an endpoint after its load or `settled` has changed.
    """

    def __init__(self, load_of: Callable[[RankedT], float]) -> None:
        self._load_of = load_of
        self._loads: list[float] = []
        """The distinct loads, ascending. Few, as endpoints of a model are alike."""
        self._levels: dict[float, list[RankedT]] = {}
        self._places: dict[RankedT, tuple[float, int]] = {}
        self._unsettled: set[RankedT] = set()

    def place(self, endpoint: RankedT) -> None:
        """Moves an endpoint to its current load."""
        if not endpoint.settled:
            self._take_out(endpoint)
            self._unsettled.add(endpoint)
            return
        load, known = self._load_of(endpoint), self._places.get(endpoint)
        if known is not None and known[0] == load:
            return
        self._take_out(endpoint)
        self._unsettled.discard(endpoint)
        level = self._levels.get(load)
        if level is None:
            level = self._levels[load] = []
            insort(self._loads, load)
        self._places[endpoint] = load, len(level)
        level.append(endpoint)

    def least(self) -> tuple[list[RankedT], float, int]:
        """Returns the ready endpoints of the least load, that load (infinity if none), and how many are ready."""
        for endpoint in [each for each in self._unsettled if each.settled]:
            self.place(endpoint)
        load = self._loads[0] if self._loads else float("inf")
        best, count = self._levels.get(load, []), len(self._places)
        for endpoint in self._unsettled:
            if endpoint.state is EndpointState.READY:
                count += 1
                if (own := self._load_of(endpoint)) < load:
                    load, best = own, [endpoint]
                elif own == load:
                    best = [*best, endpoint]
        return best, load, count

    def _take_out(self, endpoint: RankedT) -> None:
        place = self._places.pop(endpoint, None)
        if place is None:
            return
        load, index = place
        level = self._levels[load]
        last = level.pop()
        if last is not endpoint:
            level[index] = last
            self._places[last] = load, index
        elif not level:
            del self._levels[load]
            del self._loads[bisect_left(self._loads, load)]
