"""An index of what endpoints serve, so that choosing one does not walk over all of them at each call."""

import random
from collections.abc import Collection, Sequence
from functools import cached_property

from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.part import Part
from gateway.endpoints.ranking import Ranking
from gateway.endpoints.router import Choice, EndpointState, has_room, load_of

Nearness = tuple[Ranking[Endpoint], Ranking[Endpoint]]
"""The endpoints in this gateway's part, and all others."""

_USABLE = (EndpointState.READY, EndpointState.EJECTED)


class Catalog:
    """An index of endpoints. When the models or the `state` of one change, ejections aside, make a new catalog."""

    def __init__(self, endpoints: Sequence[Endpoint], over_commit: float, part: Part | None = None) -> None:
        """Registers with the endpoints: from now on they report their load to this catalog and to no other.

        Endpoints in `part` are preferred; None: there are no parts.
        """
        self.only_models: dict[frozenset[int], str] = {}
        """A cache for callers: by tasks, the only model that does one of them."""
        self._endpoints = endpoints
        self._over_commit = over_commit
        self._part = part
        self._rankings: dict[tuple[str, frozenset[int], str], Nearness] = {}
        for endpoint in endpoints:
            endpoint.rankings.clear()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all models that an endpoint has reported."""
        return frozenset(name for endpoint in self._endpoints for name in endpoint.models)

    def choose(self, name: str, tasks: Collection[int], pool: str = "") -> Choice[Endpoint] | None:
        """Returns the choice that `router.route` makes among all endpoints or those of one pool; None if none is ready.

        An endpoint outside the gateway's part is chosen only if none in it is ready with a free slot.
        """
        if name not in self.names:
            return None
        near, far = self._ranked(name, frozenset(tasks), pool)
        best, load, count = near.least()
        if not best or not has_room(load):
            others, their_load, their_count = far.least()
            count += their_count
            if their_load < load:
                best, load = others, their_load
        if not best:
            return None
        reason = "only" if count == 1 else "least_in_flight"
        return Choice(random.choice(best), name, reason, has_room(load))  # noqa: S311

    def _ranked(self, name: str, tasks: frozenset[int], pool: str) -> Nearness:
        known = self._rankings.get((name, tasks, pool))
        if known is None:
            able = [endpoint for endpoint in self._endpoints if _able(endpoint, name, tasks, pool)]
            near, far = self._part.cut(able) if self._part else (able, ())
            known = self._rankings[name, tasks, pool] = (self._ranking(name, near), self._ranking(name, far))
        return known

    def _ranking(self, name: str, endpoints: Sequence[Endpoint]) -> Ranking[Endpoint]:
        ranking = Ranking[Endpoint](lambda each: load_of(each, each.models[name].concurrency, self._over_commit))
        for endpoint in endpoints:
            ranking.place(endpoint)
            endpoint.rankings.append(ranking)
        return ranking


def _able(endpoint: Endpoint, name: str, tasks: frozenset[int], pool: str) -> bool:
    served = endpoint.models.get(name)
    if served is None or not served.ready or served.tasks.isdisjoint(tasks):
        return False
    return endpoint.state in _USABLE and pool in ("", endpoint.pool)
