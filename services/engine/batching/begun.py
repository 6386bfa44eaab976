"""The queue of items that the model has begun but not finished."""

from services.engine.batching.job import Job
from services.engine.batching.queue import BatchLimits, Entry


class BegunItems:
    """Begun items, scheduled fairly. Used in the batcher's thread only.

    The request that has used the least model time is next. A new request starts at the least time that others used.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._had: dict[Job, float] = {}
        """Seconds of model time used by each request with items here or in the current batch."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def jobs(self) -> list[Job]:
        """The requests with items here."""
        return list(dict.fromkeys(entry.job for entry in self._entries))

    def add(self, entry: Entry) -> None:
        """Adds the unfinished rest of an item."""
        self._had.setdefault(entry.job, min(self._had.values(), default=0.0))
        self._entries.append(entry)

    def drop(self, job: Job) -> None:
        """Removes the items of a request."""
        self._entries = [entry for entry in self._entries if entry.job is not job]
        self._had.pop(job, None)

    def take(self, limits: BatchLimits) -> list[Entry]:
        """Removes and returns the next batch: items of the next request, filled up with others of the same kind."""
        taken: list[Entry] = []
        longest = filled = 0
        for entry in sorted(self._entries, key=lambda entry: self._had[entry.job]):
            item = entry.item
            longest_with, filled_with = max(longest, item.length), filled + item.length
            alike = not taken or item.kind == taken[0].item.kind
            if not taken or (alike and limits.admits(len(taken) + 1, longest_with, filled_with)):
                taken.append(entry)
                longest, filled = longest_with, filled_with
        self._entries = [entry for entry in self._entries if entry not in taken]
        return taken

    def worked_on(self, entries: list[Entry], seconds: float) -> None:
        """Adds a batch's seconds to its requests. Called after unfinished rests were added again."""
        left = set(self.jobs)
        for job in {entry.job for entry in entries}:
            if job in left:
                self._had[job] += seconds
            else:
                self._had.pop(job, None)
