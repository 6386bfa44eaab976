"""The endpoints there are, and who keeps them up to date."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from gateway.config import GatewaySettings
from gateway.discovery import Discovery
from gateway.endpoint import Endpoint
from gateway.learning import Learner
from gateway.router import EndpointState

_log = logging.getLogger("gateway")


class Pool:
    """Every endpoint that discovery tells of. Runs from `async with` on entry to its exit.

    An endpoint that discovery no longer tells of gets no new work, and its channel closes when its last call has ended.
    """

    def __init__(self, settings: GatewaySettings, discovery: Discovery) -> None:
        self.name = discovery.name
        self.on_change: Callable[[], None] = lambda: None
        """Called after every change of an endpoint's state or models."""
        self._settings = settings
        self._discovery = discovery
        self._members: dict[str, tuple[Endpoint, Learner, asyncio.Task[None]]] = {}
        self._found = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints, reached or not. May be read in any thread."""
        return [endpoint for endpoint, _, _ in tuple(self._members.values())]

    def knows(self, model: str) -> bool:
        """Returns whether an endpoint has told of a model of this name."""
        return any(model in endpoint.models for endpoint in self.endpoints)

    async def wait_tried(self) -> None:
        """Returns when discovery has spoken and each endpoint has answered or failed to once."""
        await self._found.wait()
        await asyncio.gather(*(learner.tried.wait() for _, learner, _ in self._members.values()))

    async def __aenter__(self) -> "Pool":
        self._start(self._discover())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running = [*self._tasks, *(task for _, _, task in self._members.values())]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(endpoint.channel.close() for endpoint in self.endpoints))

    async def _discover(self) -> None:
        async for addresses in self._discovery.addresses():
            for address in addresses - self._members.keys():
                self._add(address)
            for address in self._members.keys() - addresses:
                self._start(self._remove(address))
            self._found.set()
            self.on_change()

    def _add(self, address: str) -> None:
        endpoint = Endpoint(address, self._settings.message_bytes)
        learner = Learner(endpoint, self._settings, lambda: self.on_change())
        self._members[address] = endpoint, learner, asyncio.ensure_future(learner.run())
        _log.info("%s added", address)

    async def _remove(self, address: str) -> None:
        endpoint, _, learning = self._members.pop(address)
        _log.info("%s removed", address)
        learning.cancel()
        await asyncio.gather(learning, return_exceptions=True)
        endpoint.state = EndpointState.NOT_SERVING
        try:
            await endpoint.idle.wait()
        finally:
            await endpoint.channel.close()

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
