"""Where the addresses of endpoints come from."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol


class Discovery(Protocol):
    """A source of addresses."""

    @property
    def name(self) -> str:
        """What the source is called in metrics, such as `static`."""
        ...

    def addresses(self) -> AsyncIterator[frozenset[str]]:
        """Yields all addresses (HOST:PORT) at once, and again whenever they change. Does not end."""
        ...


class StaticDiscovery:
    """Addresses that never change."""

    name = "static"

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = frozenset(addresses)

    async def addresses(self) -> AsyncIterator[frozenset[str]]:
        """Yields the addresses once."""
        yield self._addresses
        await asyncio.Event().wait()
