"""Discovery by DNS: the addresses of a name, such as that of a headless Service, are the endpoints."""

import asyncio
import logging
import random
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from gateway.discovery.member import Member
from gateway.discovery.places import GATEWAYS, HostPort, pools_of

_log = logging.getLogger("gateway")

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name, IPv6 without brackets. Raises OSError if the lookup fails."""


class DnsDiscovery:
    """Looks names up periodically. If a lookup fails, the last answer stays valid."""

    def __init__(self, places: Sequence[HostPort], refresh_seconds: float, resolve: Resolve | None = None) -> None:
        self.pools = pools_of(places)
        self._places = places
        self._refresh_seconds = refresh_seconds
        self._resolve = resolve or look_up
        self._answers: dict[HostPort, Sequence[str]] = {}
        self._failing: set[HostPort] = set()

    async def snapshots(self) -> AsyncGenerator[frozenset[Member]]:
        """Yields all members once the first name was resolved, and again after each change."""
        last: frozenset[Member] | None = None
        while True:
            await asyncio.gather(*map(self._ask, self._places))
            members = self._members()
            if any(place.pool != GATEWAYS for place in self._answers) and members != last:
                yield members
                last = members
            # Jitter, so that gateways started together do not ask together.
            await asyncio.sleep(self._refresh_seconds * random.uniform(0.75, 1.25))  # noqa: S311

    async def _ask(self, place: HostPort) -> None:
        try:
            self._answers[place] = await self._resolve(place.host.strip("[]"))
        except OSError as error:
            if place not in self._failing:
                self._failing.add(place)
                _log.warning("looking up %s fails, its last answer stays in use: %s", place.host, error)
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
    """Asks the system's resolver, in a thread. Returns the IPv4 addresses, or the IPv6 ones if there are no others.

    A dual-stack Service has two addresses for each replica, and DNS does not say which two belong together.

    Raises:
        OSError: the lookup failed, or the name does not exist. A name without addresses gives an empty result instead.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        # The answer for a headless Service without a ready replica.
        if error.errno == socket.EAI_NODATA:
            return ()
        raise
    by_family = {
        family: sorted({str(address[0]) for kind, _, _, _, address in found if kind == family})
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    return by_family[socket.AF_INET] or by_family[socket.AF_INET6]
