"""The order of waiting calls: fair between tenants, by priority and arrival within a tenant."""

from asyncio import Future
from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from gateway.admission.ask import Ask
from gateway.admission.shares import Shares

if TYPE_CHECKING:
    from gateway.admission.lease import Lease

PRIORITY_SECONDS = 5.0
"""One step of priority outweighs this much earlier arrival, as in the services' own queues."""


@dataclass(slots=True)
class Ticket:
    """A waiting call and the future of its lease. `arrival` is monotonic, in seconds."""

    ask: Ask
    arrival: float
    granted: "Future[Lease]"
    place: tuple[float, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.arrival - self.ask.priority * PRIORITY_SECONDS, next(_numbers)


_numbers = count()


class Line:
    """The waiting calls. The tenant with the lowest account goes first, with its first call by priority and arrival.

    Priorities order only the calls of one tenant: callers choose them freely, so they must not cost other tenants.
    """

    def __init__(self, shares: Shares) -> None:
        self.size = 0
        """Bytes of the waiting requests."""
        self.bands: Counter[str] = Counter()
        """Number of waiting calls by priority band."""
        self._shares = shares
        self._tenants: dict[str, list[Ticket]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, ticket: Ticket) -> None:
        """Inserts a call."""
        insort(self._tenants.setdefault(ticket.ask.tenant, []), ticket, key=_place)
        self._count(ticket, 1)

    def remove(self, ticket: Ticket) -> None:
        """Removes a call, if it is there."""
        own = self._tenants.get(ticket.ask.tenant, [])
        index = bisect_left(own, ticket.place, key=_place)
        if index == len(own) or own[index] is not ticket:
            return
        del own[index]
        if not own:
            del self._tenants[ticket.ask.tenant]
        self._count(ticket, -1)

    def first(self) -> Ticket | None:
        """Returns the call that goes next, without removing it; None if no call waits."""
        if not self._tenants:
            return None
        tenant = min(self._tenants, key=lambda name: (self._shares.account(name), self._tenants[name][0].place))
        return self._tenants[tenant][0]

    def ahead(self, ask: Ask, arrival: float) -> int:
        """Estimates how many calls go before one that comes at `arrival`, if its tenant takes turns with all others."""
        own = self._tenants.get(ask.tenant, [])
        before = bisect_left(own, arrival - ask.priority * PRIORITY_SECONDS, key=lambda ticket: ticket.place[0])
        others = len(self._tenants) - bool(own)
        return min(before + (before + 1) * others, self._length)

    def _count(self, ticket: Ticket, step: int) -> None:
        self._length += step
        self.size += step * ticket.ask.size
        self.bands[ticket.ask.band] += step


def _place(ticket: Ticket) -> tuple[float, int]:
    return ticket.place
