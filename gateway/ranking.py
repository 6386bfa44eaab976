"""Endpoints in the order of their load, kept so as calls begin and end: whoever asks for the least looks at few."""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway.router import EndpointState


class RankedEndpoint(Protocol):
    """What a ranking needs to know of an endpoint."""

    @property
    def state(self) -> EndpointState:
        """Whether it can be used."""
        ...

    @property
    def settled(self) -> bool:
        """Whether time alone changes nothing: it is not ejected, and its share does not grow."""
        ...


RankedT = TypeVar("RankedT", bound=RankedEndpoint)


class Ranking(Generic[RankedT]):
    """Some endpoints by their load, as `load_of` tells it. One that is not settled is looked at whenever it is asked.

    `place` must be called of an endpoint after its load or its being settled has changed.
    """

    def __init__(self, load_of: Callable[[RankedT], float]) -> None:
        self._load_of = load_of
        self._loads: list[float] = []
        """Those that endpoints have, in order; few, as endpoints are alike."""
        self._levels: dict[float, list[RankedT]] = {}
        self._places: dict[RankedT, tuple[float, int]] = {}
        self._unsettled: set[RankedT] = set()

    def place(self, endpoint: RankedT) -> None:
        """Puts an endpoint where it belongs now."""
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
        """Returns the endpoints of the least load, that load, and how many there are in all; those that are ready."""
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
