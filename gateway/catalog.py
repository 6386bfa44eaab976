"""What endpoints serve, looked up without a walk over all of them, as each call asks for it."""

import random
from collections.abc import Collection, Sequence
from functools import cached_property

from gateway.endpoint import Endpoint
from gateway.ranking import Ranking
from gateway.router import Choice, EndpointState, has_room, load_of

_USABLE = (EndpointState.READY, EndpointState.EJECTED)


class Catalog:
    """The endpoints between two changes of what they serve or of whether they can be used; after one, make another."""

    def __init__(self, endpoints: Sequence[Endpoint], over_commit: float) -> None:
        """Takes over the endpoints: from now on they tell this catalog of their load, and no other."""
        self.only_models: dict[frozenset[int], str] = {}
        """Kept for whoever finds them: by tasks, the one model that does one of them."""
        self._endpoints = endpoints
        self._over_commit = over_commit
        self._rankings: dict[tuple[str, frozenset[int], str], Ranking[Endpoint]] = {}
        for endpoint in endpoints:
            endpoint.rankings.clear()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all models that an endpoint has told of."""
        return frozenset(name for endpoint in self._endpoints for name in endpoint.models)

    def choose(self, name: str, tasks: Collection[int], pool: str = "") -> Choice[Endpoint] | None:
        """Returns what `router.route` would of the endpoints, or of those of one pool; None where none is ready."""
        if name not in self.names:
            return None
        best, load, count = self._ranking(name, frozenset(tasks), pool).least()
        if not best:
            return None
        reason = "only" if count == 1 else "least_in_flight"
        return Choice(random.choice(best), name, reason, has_room(load))  # noqa: S311

    def _ranking(self, name: str, tasks: frozenset[int], pool: str) -> Ranking[Endpoint]:
        known = self._rankings.get((name, tasks, pool))
        if known is None:
            known = self._rankings[name, tasks, pool] = self._ranked(name, tasks, pool)
        return known

    def _ranked(self, name: str, tasks: frozenset[int], pool: str) -> Ranking[Endpoint]:
        ranking = Ranking[Endpoint](lambda each: load_of(each, each.models[name].concurrency, self._over_commit))
        for endpoint in self._endpoints:
            served = endpoint.models.get(name)
            able = served is not None and served.ready and not served.tasks.isdisjoint(tasks)
            if able and endpoint.state in _USABLE and pool in ("", endpoint.pool):
                ranking.place(endpoint)
                endpoint.rankings.append(ranking)
        return ranking
