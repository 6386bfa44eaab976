"""Endpoints that a name resolves to, as that of a headless Service does."""

import asyncio
import logging
import random
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from gateway.discovery.member import Member
from gateway.discovery.places import GATEWAYS, HostPort, pools_of

_log = logging.getLogger("gateway")

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name, IPv6 without brackets; raises OSError where it cannot say."""


class DnsDiscovery:
    """The addresses of names, looked up again and again. A lookup that fails leaves the last answer standing."""

    def __init__(self, places: Sequence[HostPort], refresh_seconds: float, resolve: Resolve | None = None) -> None:
        self.pools = pools_of(places)
        self._places = places
        self._refresh_seconds = refresh_seconds
        self._resolve = resolve or look_up
        self._answers: dict[HostPort, Sequence[str]] = {}
        self._failing: set[HostPort] = set()

    async def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        """Yields the members when a first name was resolved, and again whenever an answer has changed."""
        last: frozenset[Member] | None = None
        while True:
            await asyncio.gather(*map(self._ask, self._places))
            members = self._members()
            if any(place.pool != GATEWAYS for place in self._answers) and members != last:
                yield members
                last = members
            # Gateways that started together are not to ask together.
            await asyncio.sleep(self._refresh_seconds * random.uniform(0.75, 1.25))  # noqa: S311

    async def _ask(self, place: HostPort) -> None:
        try:
            self._answers[place] = await self._resolve(place.host.strip("[]"))
        except OSError as error:
            if place not in self._failing:
                self._failing.add(place)
                _log.warning("looking up %s fails, the last answer stands: %s", place.host, error)
        else:
            if place in self._failing:
                self._failing.remove(place)
                _log.info("%s can be looked up again", place.host)

    def _members(self) -> frozenset[Member]:
        found: dict[str, Member] = {}
        for place in self._places:
            for host in self._answers.get(place, ()):
                address = f"[{host}]:{place.port}" if ":" in host else f"{host}:{place.port}"
                found.setdefault(address, Member(address, place.pool))
        return frozenset(found.values())


async def look_up(name: str) -> Sequence[str]:
    """Asks the system's resolver, off the loop. Returns IPv4 addresses, or IPv6 ones where there are no others.

    The answer for a Service with both holds every replica twice, and does not tell which two addresses are one.

    Raises:
        OSError: there is no answer. That a name has no addresses is one; that there is no such name is none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        # What a headless Service without a ready replica answers.
        if error.errno == socket.EAI_NODATA:
            return ()
        raise
    by_family = {
        family: sorted({str(address[0]) for kind, _, _, _, address in found if kind == family})
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    return by_family[socket.AF_INET] or by_family[socket.AF_INET6]
