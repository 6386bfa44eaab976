"""Parses where a pool's endpoints are, as settings name it: `[POOL=]HOST:PORT` or `[POOL=]SERVICE[:PORTNAME]`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

DEFAULT_POOL = "default"
DEFAULT_PORT_NAME = "grpc"
GATEWAYS = ""
"""Pool name of the gateways themselves. Settings cannot contain it, as a name there is never empty."""

# Kubernetes' syntax for names of Services and ports.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_POOL = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class HostPort:
    """A host, by name or by address, and a port."""

    pool: str
    host: str
    """IPv6 in brackets."""
    port: int

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """Reads `[POOL=]HOST:PORT`.

        Raises:
            ValueError: the text has another form; the message says so, for pydantic to prefix with the setting.
        """
        pool, rest = _split_pool(text)
        host, _, port = rest.rpartition(":")
        bare = not host.startswith("[") and ":" in host
        if not host or bare or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is not HOST:PORT or POOL=HOST:PORT")
        return cls(pool, host, int(port))


@dataclass(frozen=True)
class ServicePort:
    """A port of a Kubernetes Service."""

    pool: str
    service: str
    port_name: str

    @classmethod
    def parse(cls, text: str) -> "ServicePort":
        """Reads `[POOL=]SERVICE[:PORTNAME]`.

        Raises:
            ValueError: the text has another form; the message says so, for pydantic to prefix with the setting.
        """
        pool, rest = _split_pool(text)
        service, colon, port_name = rest.partition(":")
        if not _LABEL.fullmatch(service) or (colon and not _LABEL.fullmatch(port_name)):
            raise ValueError(f"{text!r} is not POOL=SERVICE or POOL=SERVICE:PORTNAME")
        return cls(pool, service, port_name or DEFAULT_PORT_NAME)


def pools_of(places: Iterable[HostPort | ServicePort]) -> tuple[str, ...]:
    """Returns the sorted names of the pools of endpoints, without GATEWAYS."""
    return tuple(sorted({place.pool for place in places} - {GATEWAYS}))


def _split_pool(text: str) -> tuple[str, str]:
    pool, equals, rest = text.rpartition("=")
    if not equals:
        return DEFAULT_POOL, rest
    if not _POOL.fullmatch(pool):
        raise ValueError(f"{pool!r} in {text!r} cannot name a pool; letters, digits, - _ and . can")
    return pool, rest
