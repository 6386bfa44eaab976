"""Room for what is kept of all streams, so that one gateway's memory is bounded whatever is sent."""


class KeptBytes:
    """Counts bytes against a limit."""

    def __init__(self, limit: int) -> None:
        self.held = 0
        """Taken and not given back."""
        self._limit = limit

    def take(self, count: int) -> bool:
        """Takes room for `count` bytes; returns whether there was as much."""
        if self.held + count > self._limit:
            return False
        self.held += count
        return True

    def give(self, count: int) -> None:
        """Gives back what was taken."""
        self.held -= count
