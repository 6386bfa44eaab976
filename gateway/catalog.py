"""What endpoints serve, looked up without a walk over all of them, as each call asks for it."""

import random
from collections.abc import Collection, Sequence
from functools import cached_property

from gateway.endpoint import Endpoint
from gateway.part import Part
from gateway.ranking import Ranking
from gateway.router import Choice, EndpointState, has_room, load_of

Nearness = tuple[Ranking[Endpoint], Ranking[Endpoint]]
"""The endpoints of this gateway's part, and the others."""

_USABLE = (EndpointState.READY, EndpointState.EJECTED)


class Catalog:
    """The endpoints between two changes of what they serve or of whether they can be used; after one, make another."""

    def __init__(self, endpoints: Sequence[Endpoint], over_commit: float, part: Part | None = None) -> None:
        """Takes over the endpoints: from now on they tell this catalog of their load, and no other.

        Of those that serve a model, the gateway's `part` goes first; None: all do.
        """
        self.only_models: dict[frozenset[int], str] = {}
        """Kept for whoever finds them: by tasks, the one model that does one of them."""
        self._endpoints = endpoints
        self._over_commit = over_commit
        self._part = part
        self._rankings: dict[tuple[str, frozenset[int], str], Nearness] = {}
        for endpoint in endpoints:
            endpoint.rankings.clear()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all models that an endpoint has told of."""
        return frozenset(name for endpoint in self._endpoints for name in endpoint.models)

    def choose(self, name: str, tasks: Collection[int], pool: str = "") -> Choice[Endpoint] | None:
        """Returns what `router.route` would of the endpoints, or of those of one pool; None where none is ready.

        One outside of the gateway's part is chosen only where none in it is ready and has room.
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
