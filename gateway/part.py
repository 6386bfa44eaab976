"""Which endpoints each of many gateways chooses among first. Pure.

Gateways do not see each other's calls. Fifty of them over a thousand replicas have so few calls in flight each that
nearly all replicas look idle to each. So each has a part of its own, and every endpoint is in equally many parts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, TypeVar

LEAST = 8
"""Endpoints a part has at least, where there are as many: with fewer there is nothing to choose."""


class Addressed(Protocol):
    """What has an address."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        ...


AddressedT = TypeVar("AddressedT", bound=Addressed)


@dataclass(frozen=True)
class Part:
    """The part of one gateway, by its place among all; `sharing` is how many gateways each endpoint is to have.

    Endpoints stand in a ring in the order of a hash, and each gateway has those from its place on: one endpoint more or
    less changes each part by one or two, and one gateway more or less by a `sharing`th.
    """

    place: int
    gateways: int
    sharing: int

    @classmethod
    def of(cls, own: str, others: Iterable[str], sharing: int) -> "Part":
        """Returns the part of the gateway called `own` beside `others`, which may have it too."""
        names = sorted({own, *others}, key=_hash)
        return cls(names.index(own), len(names), sharing)

    def cut(self, endpoints: Sequence[AddressedT]) -> tuple[Sequence[AddressedT], Sequence[AddressedT]]:
        """Returns this gateway's part of the endpoints, and the rest. No more gateways than `sharing` have all each."""
        count = len(endpoints)
        size = min(count, max(math.ceil(count * self.sharing / self.gateways), LEAST))
        if size == count:
            return endpoints, ()
        ring = sorted(endpoints, key=lambda endpoint: _hash(endpoint.address))
        begin = self.place * count // self.gateways
        turned = [*ring[begin:], *ring[:begin]]
        return turned[:size], turned[size:]


def _hash(text: str) -> bytes:
    # Not Python's own, which is another one in each process.
    return blake2b(text.encode(), digest_size=8).digest()
