"""What every source of endpoints can do."""

from collections.abc import AsyncGenerator
from typing import Protocol

from gateway.discovery.member import Member


class Discovery(Protocol):
    """A source of endpoints."""

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of all pools, those without an endpoint too."""
        ...

    def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        """Yields all members at once, and again whenever they change; no two have the same address. Does not end.

        A source that cannot be asked is silent: what it told last still holds.
        """
        ...
