"""Items that the model has worked on but not finished."""

from services.engine.batching.job import Job
from services.engine.batching.queue import BatchLimits, Entry


class BegunItems:
    """Used in the batcher's thread only.

    Requests take turns: whichever had the least time of the model, counted from what others had when it came, is next.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._had: dict[Job, float] = {}
        """Seconds that each request with items here, or in the current batch, had of the model."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def jobs(self) -> list[Job]:
        """Requests with items here."""
        return list(dict.fromkeys(entry.job for entry in self._entries))

    def add(self, entry: Entry) -> None:
        """Adds the rest of an item."""
        self._had.setdefault(entry.job, min(self._had.values(), default=0.0))
        self._entries.append(entry)

    def drop(self, job: Job) -> None:
        """Removes the items of a request."""
        self._entries = [entry for entry in self._entries if entry.job is not job]
        self._had.pop(job, None)

    def take(self, limits: BatchLimits) -> list[Entry]:
        """Returns the next batch: items of the request that is next, and others of their kind. There must be items."""
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
        """Notes how long a batch took, after its unfinished rests were added."""
        left = set(self.jobs)
        for job in {entry.job for entry in entries}:
            if job in left:
                self._had[job] += seconds
            else:
                self._had.pop(job, None)
