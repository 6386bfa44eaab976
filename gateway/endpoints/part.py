"""Divides endpoints among many gateways: each prefers those of its own part. Pure.

Gateways do not see each other's calls. With fifty gateways over a thousand replicas, each gateway has so few calls in
flight that nearly all replicas look idle to it. So each has a part of the endpoints, and every endpoint is in about
equally many parts (ADR 37).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, TypeVar

LEAST = 8
"""Minimum size of a part (if there are as many endpoints): with fewer there is nothing to choose from."""


class Addressed(Protocol):
    """An object with an address."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        ...


AddressedT = TypeVar("AddressedT", bound=Addressed)


@dataclass(frozen=True)
class Part:
    """The part of the gateway at index `place` of `gateways`; each endpoint is in the parts of `sharing` gateways.

    Endpoints form a ring, sorted by a hash of their address, and the part of a gateway is a segment that starts at its
    place. So one endpoint more or less changes each part by one or two endpoints, and one gateway more or less by at
    most one in `sharing`.
    """

    place: int
    gateways: int
    sharing: int

    @classmethod
    def of(cls, own: str, others: Iterable[str], sharing: int) -> "Part":
        """Returns the part of the gateway named `own` among `others`, which may include it."""
        names = sorted({own, *others}, key=_hash)
        return cls(names.index(own), len(names), sharing)

    def cut(self, endpoints: Sequence[AddressedT]) -> tuple[Sequence[AddressedT], Sequence[AddressedT]]:
        """Returns this gateway's part of the endpoints, and the rest. With at most `sharing` gateways, each has all."""
        count = len(endpoints)
        size = min(count, max(math.ceil(count * self.sharing / self.gateways), LEAST))
        if size == count:
            return endpoints, ()
        ring = sorted(endpoints, key=lambda endpoint: _hash(endpoint.address))
        begin = self.place * count // self.gateways
        turned = [*ring[begin:], *ring[:begin]]
        return turned[:size], turned[size:]


def _hash(text: str) -> bytes:
    # Python's own hash of strings differs between processes.
    return blake2b(text.encode(), digest_size=8).digest()
