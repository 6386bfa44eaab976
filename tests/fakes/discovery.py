"""A discovery source whose snapshots a test provides."""

import asyncio
from collections.abc import AsyncGenerator

from gateway.discovery import Member


class FakeDiscovery:
    def __init__(self, *members: Member, pools: tuple[str, ...] = ("text",)) -> None:
        self.pools = pools
        self._snapshots: asyncio.Queue[frozenset[Member]] = asyncio.Queue()
        self.tell(*members)

    def tell(self, *members: Member) -> None:
        """Makes these members the next snapshot."""
        self._snapshots.put_nowait(frozenset(members))

    async def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        while True:
            yield await self._snapshots.get()
