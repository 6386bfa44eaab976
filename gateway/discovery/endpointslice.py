"""Discovery by Kubernetes: the EndpointSlices of Services, watched in a thread."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress

from gateway.discovery.cluster import Cluster
from gateway.discovery.follower import Follower
from gateway.discovery.member import Member
from gateway.discovery.places import ServicePort, pools_of
from gateway.discovery.slices import Slice, members_of, mistakes_in

_log = logging.getLogger("gateway")

_JOIN_SECONDS = 1.0


class EndpointSliceDiscovery:
    """The endpoints of some Services in one namespace. The Kubernetes client blocks, so it runs in a thread."""

    def __init__(self, places: Sequence[ServicePort], namespace: str | None, resync_seconds: float) -> None:
        """Reads the cluster's configuration.

        Raises:
            CannotServe: there is none.
        """
        self.pools = pools_of(places)
        self._places = places
        self._resync_seconds = resync_seconds
        self._cluster = Cluster(namespace, {place.service for place in places})
        self._warned: list[str] = []

    async def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        """Yields all members after the first list, and again after each change. May be called once."""
        loop = asyncio.get_running_loop()
        newest: asyncio.Queue[frozenset[Member]] = asyncio.Queue()

        def report(slices: Collection[Slice]) -> None:
            members = members_of(slices, self._places)
            self._warn(slices)
            # The loop may be closed before the thread ends.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(newest.put_nowait, members)

        follower = Follower(self._cluster, self._resync_seconds, report)
        # A daemon thread: a connection that hangs must not keep the process alive.
        thread = threading.Thread(target=follower.run, name="endpointslices", daemon=True)
        thread.start()
        try:
            last: frozenset[Member] | None = None
            while True:
                members = await newest.get()
                while not newest.empty():
                    members = newest.get_nowait()
                if members != last:
                    last = members
                    yield members
        finally:
            follower.stop()
            await asyncio.to_thread(thread.join, _JOIN_SECONDS)

    def _warn(self, slices: Collection[Slice]) -> None:
        """Logs each probable mistake in a manifest once."""
        mistakes = mistakes_in(slices, self._places)
        for mistake in mistakes:
            if mistake not in self._warned:
                _log.warning("in namespace %s, %s", self._cluster.namespace, mistake)
        self._warned = mistakes
