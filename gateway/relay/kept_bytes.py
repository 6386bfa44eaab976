"""The memory budget that all resumable streams of a gateway share."""


class KeptBytes:
    """Counts bytes against a limit. Belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        self.held = 0
        """Bytes in use."""
        self._limit = limit

    def take(self, count: int) -> bool:
        """Reserves `count` bytes if they fit the limit; returns whether they did."""
        if self.held + count > self._limit:
            return False
        self.held += count
        return True

    def give(self, count: int) -> None:
        """Releases `count` reserved bytes."""
        self.held -= count
