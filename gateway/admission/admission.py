"""Gives calls a slot at an endpoint: at once if one is free, else after a bounded wait in a fair queue."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NoReturn, Protocol, cast

from gateway.admission.ask import Ask
from gateway.admission.cold import ColdModels, StandIn
from gateway.admission.lane import Lane
from gateway.admission.lease import Lease
from gateway.admission.line import Ticket
from gateway.admission.settings import AdmissionSettings
from gateway.endpoints.catalog import Catalog
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.router import Choice, only_model, route
from gateway.metrics import GatewayMetrics
from sensorium import rpc
from sensorium.errors import ModelNotReady, NoEndpoint, QueueFull, SensoriumError, TaskNotSupported
from sensorium.v1.common_pb2 import ModelIdentity

Known = Endpoint | StandIn

_log = logging.getLogger("gateway")

_TICK_SECONDS = 0.25


class Endpoints(Protocol):
    """The properties of the pool that admission reads."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all pools that discovery knows."""
        ...

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """All endpoints, ready or not."""
        ...

    @property
    def catalog(self) -> Catalog:
        """An index of what they serve, until one of them changes."""
        ...


class Admission:
    """Decides when a call gets an endpoint, and which one. Belongs to the event loop."""

    def __init__(self, pool: Endpoints, metrics: GatewayMetrics, settings: AdmissionSettings) -> None:
        self._pool = pool
        self._metrics = metrics
        self._settings = settings
        self._cold = ColdModels.of(settings.cold_models)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._tick: asyncio.TimerHandle | None = None
        for stand_in in self._cold.stand_ins.values():
            if stand_in.pool not in pool.names:
                _log.warning("--cold-models names pool %s, which discovery does not have", stand_in.pool)

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of all pools, those of discovery and those of `cold_models`."""
        return tuple(dict.fromkeys((*self._pool.names, *(model.pool for model in self._cold.stand_ins.values()))))

    @property
    def cold_tasks(self) -> frozenset[int]:
        """The tasks of models that may be scaled to zero: calls for these wait even if no endpoint is ready."""
        models = (model for place in self._cold.stand_ins.values() for model in place.models.values())
        return frozenset(task for model in models for task in model.tasks)

    def knows(self, model: str) -> bool:
        """Returns whether a model of this name may be scaled to zero."""
        return model in self._cold.stand_ins

    async def enter(self, ask: Ask, remaining: float | None) -> Lease:
        """Waits for a slot and returns the lease on it; sets `ask.model` if it is empty. `remaining` is in seconds.

        Raises:
            InvalidArgument, ModelNotServed, TaskNotSupported, NoEndpoint, ModelNotReady: as `router.route`.
            QueueFull: the queue is full, or the call has waited for `queue_seconds`.
            DeadlineExceeded: the estimated wait is longer than `remaining`.
        """
        try:
            ask.model = ask.model or self._only_model(ask)
            choice = self._choose(ask)
        except SensoriumError as error:
            stand_in = self._cold.stand_ins.get(ask.model)
            if stand_in is None or not isinstance(error, NoEndpoint | ModelNotReady):
                self._metrics.routes.labels(error.reason.lower()).inc()
                raise
            return await self._wait(self._lane(stand_in.pool, ask.model), ask, remaining, cold=True)
        lane = self._lane(choice.endpoint.pool, ask.model)
        if not ask.slots or (choice.free and not len(lane.line)):
            self._metrics.admitted(lane.pool, "direct", 0.0)
            return self._grant(lane, choice, ask)
        return await self._wait(lane, ask, remaining, cold=False)

    def alternative(
        self, ask: Ask, tried: Collection[str], model: ModelIdentity | None = None
    ) -> Choice[Endpoint] | None:
        """Returns an endpoint, not in `tried`, for a call that other endpoints failed; None if there is none.

        With a `model`, endpoints that report another revision of it are excluded.
        """
        if model is not None:
            others = (endpoint.address for endpoint in self._pool.endpoints if endpoint.has_another(model))
            tried = {*tried, *others}
        try:
            return self._route(self._known(), ask, tried)
        except SensoriumError:
            return None

    def take(self, choice: Choice[Endpoint], ask: Ask) -> Lease:
        """Returns a lease on an `alternative` without waiting, even if it has no free slot: retries are few."""
        self._metrics.routes.labels("retry").inc()
        return Lease(self._lane(choice.endpoint.pool, ask.model), choice.endpoint, ask, self._ended)

    def changed(self) -> None:
        """Serves waiting calls after endpoints, their state or their models have changed."""
        self._cold.learn(self._pool.endpoints)
        self._pool.catalog.only_models.clear()
        for lane in self._waiting():
            self._serve(lane)

    def depths(self) -> Counter[tuple[str, str]]:
        """Returns the number of waiting calls by (pool, priority band). Thread-safe."""
        depths: Counter[tuple[str, str]] = Counter()
        for lane in tuple(self._lanes.values()):
            for band, waiting in tuple(lane.line.bands.items()):
                depths[lane.pool, band] += waiting
        return depths

    async def _wait(self, lane: Lane, ask: Ask, remaining: float | None, *, cold: bool) -> Lease:
        begun = time.monotonic()
        try:
            lane.check(ask, begun, remaining)
        except SensoriumError as error:
            self._metrics.admission.labels(lane.pool, "full" if isinstance(error, QueueFull) else "deadline").inc()
            raise
        ticket = Ticket(ask, begun, asyncio.get_running_loop().create_future())
        lane.line.add(ticket)
        self._serve(lane)
        self._schedule_tick()
        outcome = "cancelled"
        try:
            seconds = self._settings.cold_start_seconds if cold else self._settings.queue_seconds
            # Unlike `asyncio.timeout`, this cannot lose a lease that is granted at the moment of the timeout.
            done, _ = await asyncio.wait((ticket.granted,), timeout=seconds)
            outcome = "expired" if not done else "unserved" if ticket.granted.exception() else "dispatched"
            return ticket.granted.result() if done else self._expire(lane, ask, seconds)
        finally:
            lane.line.remove(ticket)
            waited = time.monotonic() - begun
            if outcome == "cancelled":
                _release_unused(ticket)
                if remaining is not None and waited >= remaining - rpc.HASTE_SECONDS:
                    outcome = "deadline"
            self._metrics.admitted(lane.pool, outcome, waited)

    def _expire(self, lane: Lane, ask: Ask, seconds: float) -> NoReturn:
        """Raises the error of a call that has waited too long: why no endpoint is ready, else QueueFull."""
        self._choose(ask)
        raise lane.full(f"The request has waited for {seconds:g} s.")

    def _serve(self, lane: Lane, freed: Endpoint | None = None) -> None:
        """Grants leases to waiting calls of a lane while slots are free: at `freed`, or at any endpoint of the pool."""
        while (ticket := lane.line.first()) is not None:
            ask = ticket.ask
            try:
                choice = self._choose(ask, lane.pool) if freed is None else self._route((freed,), ask)
            except SensoriumError as error:
                if freed is not None or isinstance(error, NoEndpoint | ModelNotReady):
                    return
                lane.line.remove(ticket)
                ticket.granted.set_exception(error)
                continue
            if not choice.free and ask.slots:
                return
            lane.line.remove(ticket)
            ticket.granted.set_result(self._grant(lane, choice, ask))

    def _grant(self, lane: Lane, choice: Choice[Endpoint], ask: Ask) -> Lease:
        self._metrics.routes.labels(choice.reason).inc()
        return Lease(lane, choice.endpoint, ask, self._ended)

    def _ended(self, lease: Lease) -> None:
        """Updates the endpoint's ejection record after a call, and gives the free slot to the next one."""
        endpoint = lease.endpoint
        reason = lease.ejection.ended(lease.worked, lease.probe, lambda: self._may_eject(endpoint.pool))
        if reason:
            endpoint.rank()
            self._metrics.ejections.labels(endpoint.pool, reason).inc()
        for lane in self._waiting():
            if lane.pool == endpoint.pool and lane.model in endpoint.models:
                self._serve(lane, endpoint)

    def _may_eject(self, pool: str) -> bool:
        """At most half of a pool is ejected: if more fail, the cause is not single endpoints."""
        members = [endpoint for endpoint in self._pool.endpoints if endpoint.pool == pool]
        return 2 * (sum(endpoint.ejection.closed for endpoint in members) + 1) <= len(members)

    def _waiting(self) -> list[Lane]:
        return [lane for lane in self._lanes.values() if len(lane.line)]

    def _schedule_tick(self) -> None:
        """Polls while calls wait, as nothing is called when an ejection ends or a share grows."""
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        for lane in self._waiting():
            self._serve(lane)
            self._schedule_tick()

    def _lane(self, pool: str, model: str) -> Lane:
        lane = self._lanes.get((pool, model))
        if lane is None:
            lane = self._lanes[pool, model] = Lane(pool, model, self._settings)
        return lane

    def _known(self, pool: str = "") -> Sequence[Known]:
        places: list[Known] = [*self._pool.endpoints, *self._cold.stand_ins.values()]
        return [place for place in places if pool in ("", place.pool)]

    def _only_model(self, ask: Ask) -> str:
        """Returns the only model for the call's tasks. Guessed tasks of cold models count only if no other fits."""
        known, tasks = self._pool.catalog.only_models, frozenset(ask.tasks)
        if tasks not in known:
            certain = [place for place in self._known() if not isinstance(place, StandIn) or not place.guessed]
            try:
                known[tasks] = only_model(certain, tasks)
            except (NoEndpoint, TaskNotSupported):
                known[tasks] = only_model(self._known(), tasks)
        return known[tasks]

    def _choose(self, ask: Ask, pool: str = "") -> Choice[Endpoint]:
        """Returns the endpoint for a call, from one pool or from all. Raises as `router.route`."""
        choice = self._pool.catalog.choose(ask.model, ask.tasks, pool)
        # If none is ready, the slower `route` considers ejected endpoints or raises the right error.
        return choice or self._route(self._known(pool), ask)

    def _route(self, known: Sequence[Known], ask: Ask, tried: Collection[str] = ()) -> Choice[Endpoint]:
        choice = route(known, ask.tasks, ask.model, over_commit=self._settings.over_commit, tried=tried)
        # A stand-in is never ready.
        return cast("Choice[Endpoint]", choice)


def _release_unused(ticket: Ticket) -> None:
    """Releases a lease that was granted at the moment in which the caller cancelled."""
    if ticket.granted.done() and ticket.granted.exception() is None:
        ticket.granted.result().release()
    ticket.granted.cancel()
