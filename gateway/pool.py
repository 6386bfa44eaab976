"""The endpoints there are, and who keeps them up to date."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType

from gateway.catalog import Catalog
from gateway.channels import Channels
from gateway.config import GatewaySettings
from gateway.discovery import GATEWAYS, Discovery, Member
from gateway.endpoint import Endpoint
from gateway.learning import Learner
from gateway.part import Part
from gateway.router import EndpointState

_log = logging.getLogger("gateway")

# Asking an endpoint for the first time takes about a millisecond of the event loop: a thousand that are found at once
# are asked within three seconds, and the streams that run meanwhile notice nothing.
_PACE_SECONDS = 0.003

# Certificates are renewed weeks before they expire.
_RENEWAL_SECONDS = 60.0

# Whoever is told of a change looks at all endpoints.
_TOGETHER_SECONDS = 0.05


@dataclass(frozen=True)
class _Seat:
    endpoint: Endpoint
    learner: Learner
    learning: asyncio.Task[None]


class Pool:
    """Every endpoint that discovery tells of, of all pools. Runs from `async with` on entry to its exit.

    An endpoint that discovery no longer tells of gets no new work, and its channel closes when its last call has ended.
    """

    def __init__(self, settings: GatewaySettings, discovery: Discovery) -> None:
        self.names = discovery.pools
        """The names of the pools, those without an endpoint too."""
        self.on_change: Callable[[], None] = lambda: None
        """Called soon after an endpoint's state or models have changed; once for changes that come together."""
        self._settings = settings
        self._channels = Channels(settings)
        self._discovery = discovery
        self._seats: dict[str, _Seat] = {}
        self._catalog: Catalog | None = None
        self._part: Part | None = None
        self._leaving: dict[int, Endpoint] = {}
        self._found = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._announcing: asyncio.TimerHandle | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints, reached or not. May be read in any thread."""
        return [seat.endpoint for seat in tuple(self._seats.values())]

    def with_leaving(self) -> list[Endpoint]:
        """Returns the endpoints and those that only finish their calls. May be called in any thread."""
        return [*self.endpoints, *tuple(self._leaving.values())]

    @property
    def catalog(self) -> Catalog:
        """What the endpoints serve now. Not for later: the next change makes another one."""
        if self._catalog is None:
            self._catalog = Catalog(self.endpoints, self._settings.over_commit, self._part)
        return self._catalog

    async def wait_found(self) -> None:
        """Returns when discovery has spoken."""
        await self._found.wait()

    async def wait_tried(self) -> None:
        """Returns when each endpoint that is known now has answered or failed to once, and `on_change` was called."""
        await asyncio.gather(*(seat.learner.tried.wait() for seat in self._seats.values()))
        self._announce()

    async def __aenter__(self) -> "Pool":
        self._start(self._discover())
        self._start(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        # What is cancelled may begin to see an endpoint off.
        while running := [*self._tasks]:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        learning = [seat.learning for seat in self._seats.values()]
        for task in learning:
            task.cancel()
        await asyncio.gather(*learning, return_exceptions=True)
        await asyncio.gather(*(endpoint.close() for endpoint in self.with_leaving()))

    async def _discover(self) -> None:
        async with aclosing(self._discovery.snapshots()) as snapshots:
            async for members in snapshots:
                await self._take(members)
                self._found.set()
                self._changed()

    async def _take(self, members: Collection[Member]) -> None:
        self._take_gateways([member for member in members if member.pool == GATEWAYS])
        told = {member.address: member for member in members if member.pool != GATEWAYS}
        leaving: list[str] = []
        for address, seat in self._seats.items():
            member = told.get(address)
            if member is None or _another(member, seat.endpoint.member):
                leaving.append(address)
            elif member != seat.endpoint.member:
                seat.endpoint.member = member
                _log.info("%s in pool %s is told to be %s", address, member.pool, _words(member))
        for address in leaving:
            self._remove(address)
            await asyncio.sleep(0)
        new = [member for member in told.values() if member.address not in self._seats]
        for place, member in enumerate(new):
            self._add(member, place * _PACE_SECONDS)
            # What is running has its turn between two of a thousand.
            await asyncio.sleep(0)

    def _take_gateways(self, members: Collection[Member]) -> None:
        if self._settings.own_host is None:
            return
        working = [member.address for member in members if member.ready and not member.terminating]
        hosts = {address.rpartition(":")[0].strip("[]") for address in working}
        part = Part.of(self._settings.own_host, hosts, self._settings.gateways_per_endpoint)
        if part != self._part:
            _log.info("this is gateway %d of %d", part.place + 1, part.gateways)
            self._part = part
            self._forget()

    async def _renew(self) -> None:
        """Reaches every endpoint anew when the TLS files were replaced, as connections made later need the new ones."""
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            if self._channels.renewed():
                _log.info("the TLS files for endpoints have changed")
                for seat in list(self._seats.values()):
                    await self._replace(seat)

    async def _replace(self, seat: _Seat) -> None:
        """Puts a new connection in the place of an old one once it stands; one that never does is not used."""
        address = seat.endpoint.address
        fresh = self._seat(seat.endpoint.member, 0.0)
        try:
            await fresh.learner.tried.wait()
        finally:
            worse = _unreached(fresh) and not _unreached(seat)
            if worse:
                _log.warning("%s is not reached with the new TLS files; its old connection goes on", address)
            if self._seats.get(address) is seat and not worse:
                fresh.endpoint.member = seat.endpoint.member
                self._seats[address] = fresh
                self._leave(seat)
            else:
                self._leave(fresh)

    def _add(self, member: Member, delay: float) -> None:
        self._seats[member.address] = self._seat(member, delay)
        self._forget()
        _log.info("%s added to pool %s, told to be %s", member.address, member.pool, _words(member))

    def _seat(self, member: Member, delay: float) -> _Seat:
        endpoint = Endpoint(member, self._channels.open, self._forget)
        learner = Learner(endpoint, self._settings, self._changed)
        return _Seat(endpoint, learner, asyncio.ensure_future(learner.run(delay)))

    def _remove(self, address: str) -> None:
        seat = self._seats.pop(address)
        endpoint = seat.endpoint
        _log.info("%s removed from pool %s, %d calls running", address, endpoint.pool, endpoint.in_flight)
        self._leave(seat)

    def _leave(self, seat: _Seat) -> None:
        seat.endpoint.remove()
        self._leaving[id(seat.endpoint)] = seat.endpoint
        seat.learning.cancel()
        self._start(self._see_off(seat))

    async def _see_off(self, seat: _Seat) -> None:
        try:
            await asyncio.gather(seat.learning, return_exceptions=True)
            await seat.endpoint.idle.wait()
        finally:
            del self._leaving[id(seat.endpoint)]
            await seat.endpoint.close()

    def _forget(self) -> None:
        self._catalog = None

    def _changed(self) -> None:
        if self._announcing is None:
            self._announcing = asyncio.get_running_loop().call_later(_TOGETHER_SECONDS, self._announce)

    def _announce(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        self.on_change()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the endpoints are not followed any more", exc_info=error)


def _another(member: Member, known: Member) -> bool:
    """Returns whether another replica has the address now."""
    return (member.pool, member.replica) != (known.pool, known.replica)


def _unreached(seat: _Seat) -> bool:
    return seat.endpoint.health is EndpointState.CONNECTING


def _words(member: Member) -> str:
    return "terminating" if member.terminating else "ready" if member.ready else "not ready"
