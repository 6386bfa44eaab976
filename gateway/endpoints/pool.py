"""The current endpoints of all pools, kept up to date from discovery."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType

from gateway.config import GatewaySettings
from gateway.discovery import GATEWAYS, Discovery, Member
from gateway.endpoints.catalog import Catalog
from gateway.endpoints.channels import Channels
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.learning import Learner
from gateway.endpoints.part import Part
from gateway.endpoints.router import EndpointState

_log = logging.getLogger("gateway")

# The first request to an endpoint takes about a millisecond of the event loop. Spread like this, a thousand new
# endpoints are asked within three seconds without delaying running streams.
_PACE_SECONDS = 0.003

# Certificates are renewed weeks before they expire.
_RENEWAL_SECONDS = 60.0

# `on_change` walks over all endpoints, so changes within this time share one call of it.
_COALESCE_SECONDS = 0.05


@dataclass(frozen=True)
class _Seat:
    """An endpoint of the pool and the task that keeps it up to date."""

    endpoint: Endpoint
    learner: Learner
    learning: asyncio.Task[None]


class Pool:
    """All endpoints that discovery lists. Follows discovery inside `async with`. Belongs to the event loop.

    An endpoint that discovery no longer lists gets no new calls; its channel closes when its last call has ended.
    """

    def __init__(self, settings: GatewaySettings, discovery: Discovery) -> None:
        self.names = discovery.pools
        """The names of all pools, including those without an endpoint."""
        self.on_change: Callable[[], None] = lambda: None
        """Called soon after an endpoint's state or models have changed; changes close together share one call."""
        self._settings = settings
        self._channels = Channels(settings)
        self._discovery = discovery
        self._seats: dict[str, _Seat] = {}
        self._catalog: Catalog | None = None
        self._part: Part | None = None
        self._draining: dict[int, Endpoint] = {}
        self._discovered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._announcing: asyncio.TimerHandle | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints that discovery lists, reached or not. Thread-safe."""
        return [seat.endpoint for seat in tuple(self._seats.values())]

    def with_draining(self) -> list[Endpoint]:
        """Returns the endpoints and those removed ones that still finish calls. Thread-safe."""
        return [*self.endpoints, *tuple(self._draining.values())]

    @property
    def catalog(self) -> Catalog:
        """What the endpoints serve now. Do not keep it: each change of an endpoint makes a new one."""
        if self._catalog is None:
            self._catalog = Catalog(self.endpoints, self._settings.over_commit, self._part)
        return self._catalog

    async def wait_found(self) -> None:
        """Waits for the first result of discovery."""
        await self._discovered.wait()

    async def wait_tried(self) -> None:
        """Waits until each current endpoint has answered or failed once, then calls `on_change`."""
        await asyncio.gather(*(seat.learner.tried.wait() for seat in self._seats.values()))
        self._announce()

    async def __aenter__(self) -> "Pool":
        self._start(self._discover())
        self._start(self._renew_tls())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        # A cancelled task may start another one that drains an endpoint.
        while running := [*self._tasks]:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        learning = [seat.learning for seat in self._seats.values()]
        for task in learning:
            task.cancel()
        await asyncio.gather(*learning, return_exceptions=True)
        await asyncio.gather(*(endpoint.close() for endpoint in self.with_draining()))

    async def _discover(self) -> None:
        async with aclosing(self._discovery.snapshots()) as snapshots:
            async for members in snapshots:
                await self._update(members)
                self._discovered.set()
                self._announce_soon()

    async def _update(self, members: Collection[Member]) -> None:
        self._update_part([member for member in members if member.pool == GATEWAYS])
        listed = {member.address: member for member in members if member.pool != GATEWAYS}
        gone: list[str] = []
        for address, seat in self._seats.items():
            member = listed.get(address)
            if member is None or _is_other_replica(member, seat.endpoint.member):
                gone.append(address)
            elif member != seat.endpoint.member:
                seat.endpoint.member = member
                _log.info("%s in pool %s is now %s", address, member.pool, _condition(member))
        for address in gone:
            self._remove(address)
            await asyncio.sleep(0)
        new = [member for member in listed.values() if member.address not in self._seats]
        for index, member in enumerate(new):
            self._add(member, index * _PACE_SECONDS)
            # Running calls get a turn between any two of a thousand new endpoints.
            await asyncio.sleep(0)

    def _update_part(self, members: Collection[Member]) -> None:
        if self._settings.own_host is None:
            return
        working = [member.address for member in members if member.ready and not member.terminating]
        hosts = {address.rpartition(":")[0].strip("[]") for address in working}
        part = Part.of(self._settings.own_host, hosts, self._settings.gateways_per_endpoint)
        if part != self._part:
            _log.info("this is gateway %d of %d", part.place + 1, part.gateways)
            self._part = part
            self._drop_catalog()

    async def _renew_tls(self) -> None:
        """Reconnects to every endpoint when the TLS files were replaced, so that a later reconnect does not fail."""
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            if self._channels.renewed():
                _log.info("the TLS files for endpoints have changed")
                for seat in list(self._seats.values()):
                    await self._replace(seat)

    async def _replace(self, seat: _Seat) -> None:
        """Replaces an endpoint's connection by a new one, unless only the new one fails."""
        address = seat.endpoint.address
        fresh = self._seat(seat.endpoint.member, 0.0)
        try:
            await fresh.learner.tried.wait()
        finally:
            only_new_fails = _unreached(fresh) and not _unreached(seat)
            if only_new_fails:
                _log.warning("%s is not reached with the new TLS files; its old connection stays in use", address)
            if self._seats.get(address) is seat and not only_new_fails:
                fresh.endpoint.member = seat.endpoint.member
                self._seats[address] = fresh
                self._start_draining(seat)
            else:
                self._start_draining(fresh)

    def _add(self, member: Member, delay: float) -> None:
        self._seats[member.address] = self._seat(member, delay)
        self._drop_catalog()
        condition = _condition(member)
        # Whether it is reached, and ready by its own word, is told later.
        told = "" if condition == "ready" else f", {condition}"
        _log.info("%s added to pool %s%s", member.address, member.pool, told)

    def _seat(self, member: Member, delay: float) -> _Seat:
        endpoint = Endpoint(member, self._channels.open, self._drop_catalog)
        learner = Learner(endpoint, self._settings, self._announce_soon)
        return _Seat(endpoint, learner, asyncio.ensure_future(learner.run(delay)))

    def _remove(self, address: str) -> None:
        seat = self._seats.pop(address)
        endpoint = seat.endpoint
        _log.info("%s removed from pool %s, %d calls running", address, endpoint.pool, endpoint.in_flight)
        self._start_draining(seat)

    def _start_draining(self, seat: _Seat) -> None:
        seat.endpoint.remove()
        self._draining[id(seat.endpoint)] = seat.endpoint
        seat.learning.cancel()
        self._start(self._drain(seat))

    async def _drain(self, seat: _Seat) -> None:
        try:
            await asyncio.gather(seat.learning, return_exceptions=True)
            await seat.endpoint.idle.wait()
        finally:
            del self._draining[id(seat.endpoint)]
            await seat.endpoint.close()

    def _drop_catalog(self) -> None:
        self._catalog = None

    def _announce_soon(self) -> None:
        if self._announcing is None:
            self._announcing = asyncio.get_running_loop().call_later(_COALESCE_SECONDS, self._announce)

    def _announce(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        self.on_change()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task that follows the endpoints failed", exc_info=error)


def _is_other_replica(member: Member, known: Member) -> bool:
    """Returns whether a different replica has the address now."""
    return (member.pool, member.replica) != (known.pool, known.replica)


def _unreached(seat: _Seat) -> bool:
    return seat.endpoint.health is EndpointState.CONNECTING


def _condition(member: Member) -> str:
    return "terminating" if member.terminating else "ready" if member.ready else "not ready"
