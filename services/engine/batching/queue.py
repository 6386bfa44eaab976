"""Which items are next, and which of them share a batch."""

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count

from services.engine.batching.job import Item, Job


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may become."""

    items: int = 64
    length: int = 16_384
    """Greatest length of a batch, padding included. A longer item goes alone."""
    padding: float = 0.2
    """Greatest share of padding in a batch."""
    small: int = 512
    """Length of a batch below which padding is cheaper than another batch."""

    def admits(self, items: int, longest: int, filled: int) -> bool:
        """Returns whether there may be a batch of so many items with `filled` as the sum of their lengths."""
        length = items * longest
        padded = length - filled
        return (
            items <= self.items and length <= self.length and (length <= self.small or padded <= self.padding * length)
        )


@dataclass(eq=False)
class Entry:
    """A waiting item of a request."""

    job: Job
    index: int
    item: Item
    """The request's item of that index, or its unfinished rest."""
    turn: tuple[float, int]
    """Its sort key: the lowest is next."""

    def __lt__(self, other: "Entry") -> bool:
        return self.turn < other.turn


class ItemQueue:
    """Used in the batcher's thread only.

    Requests share the model fairly, by start-time fair queueing: a request with many items takes turns with the others,
    so that these do not wait for all of its items. Its next item is due when each other waiting request has had as much
    of the model since it came.
    """

    def __init__(self) -> None:
        self._order: list[Entry] = []
        self._by_length: defaultdict[Hashable, list[tuple[int, Entry]]] = defaultdict(list)
        self._jobs: dict[Job, int] = {}
        self._served = 0.0  # what each request that waits had of the model since the beginning of time
        self._number = count()

    def __len__(self) -> int:
        return sum(self._jobs.values())

    @property
    def jobs(self) -> list[Job]:
        """Requests with items here."""
        return list(self._jobs)

    @property
    def longest_wait(self) -> float:
        """The arrival time of the request that has waited longest; infinite if none waits."""
        return min((job.arrival for job in self._jobs), default=float("inf"))

    def add(self, job: Job) -> None:
        """Adds the items of a request."""
        turn = self._served
        for index, item in enumerate(job.items):
            entry = Entry(job, index, item, (turn, next(self._number)))
            heapq.heappush(self._order, entry)
            insort(self._by_length[item.kind], (item.length, entry))
            turn += item.length
        self._jobs[job] = len(job.items)

    def drop(self, job: Job) -> None:
        """Removes the items of a request."""
        if self._jobs.pop(job, 0):
            self._order = [entry for entry in self._order if entry.job is not job]
            heapq.heapify(self._order)
            for kind in {item.kind for item in job.items}:
                self._keep(kind, [pair for pair in self._by_length[kind] if pair[1].job is not job])

    def take(self, limits: BatchLimits) -> list[Entry]:
        """Returns the next batch: the item that is due, and others of its kind and of similar length.

        Empty only if nothing waits.
        """
        if not self._order:
            return []
        first = self._order[0]
        alike = self._by_length[first.item.kind]
        low = bisect_left(alike, (first.item.length, first))
        high, filled = low + 1, first.item.length
        while side := _better_side(alike, low, high, filled, limits):
            low, high = low - (side < 0), high + (side > 0)
            filled += alike[low if side < 0 else high - 1][0]
        taken = [entry for _, entry in alike[low:high]]
        self._remove(first.item.kind, low, high)
        self._served += filled / max(len(self._jobs), 1)
        for entry in taken:
            self._jobs[entry.job] -= 1
            if not self._jobs[entry.job]:
                del self._jobs[entry.job]
        return taken

    def _remove(self, kind: Hashable, low: int, high: int) -> None:
        gone = {entry for _, entry in self._by_length[kind][low:high]}
        self._keep(kind, self._by_length[kind][:low] + self._by_length[kind][high:])
        self._order = [entry for entry in self._order if entry not in gone]
        heapq.heapify(self._order)

    def _keep(self, kind: Hashable, entries: list[tuple[int, Entry]]) -> None:
        if entries:
            self._by_length[kind] = entries
        else:
            self._by_length.pop(kind, None)


def _better_side(alike: list[tuple[int, Entry]], low: int, high: int, filled: int, limits: BatchLimits) -> int:
    """Returns -1 or 1 for the neighbour that needs less padding, or 0 if neither may join the batch."""
    longest, items = alike[high - 1][0], high - low + 1
    sides: list[tuple[int, int]] = []
    if high < len(alike):
        length = alike[high][0]
        if limits.admits(items, length, filled + length):
            sides.append((items * length - filled - length, 1))
    if low > 0:
        length = alike[low - 1][0]
        if limits.admits(items, longest, filled + length):
            sides.append((items * longest - filled - length, -1))
    return min(sides)[1] if sides else 0
