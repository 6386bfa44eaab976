"""Discovery by settings: a fixed list of endpoints."""

import asyncio
from collections.abc import AsyncGenerator, Iterable

from gateway.discovery.member import Member
from gateway.discovery.places import HostPort, pools_of


class StaticDiscovery:
    """The endpoints of the settings."""

    def __init__(self, places: Iterable[HostPort]) -> None:
        places = tuple(places)
        self._members = frozenset(Member(place.address, place.pool) for place in places)
        self.pools = pools_of(places)

    async def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        """Yields the members once, then waits for ever."""
        yield self._members
        await asyncio.Event().wait()
