"""How often streams may tell what is new."""


class MessagePace:
    """A bound on the messages of all streams together, so that sending leaves the processor to computing.

    Belongs to the event loop.
    """

    def __init__(self, per_second: int) -> None:
        """`per_second` 0 sets no bound."""
        self.open = 0
        """Streams that have not ended, but for those that are read whole."""
        self._seconds = 1 / per_second if per_second else 0.0

    @property
    def gap_seconds(self) -> float:
        """Time between two messages of one stream, while as many are open as now."""
        return self.open * self._seconds
