"""The interface of all discovery sources."""

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway.discovery.member import Member


class Discovery(Protocol):
    """A source of endpoints. Its snapshots are read on the event loop."""

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of all pools, including those without an endpoint."""
        ...

    def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        """Yields the set of all members, and the whole set again after each change. No two have the same address.

        Never ends. While the source cannot be reached it yields nothing, and the last snapshot stays valid.
        """
        ...
