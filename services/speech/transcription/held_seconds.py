"""Limits how much audio is in progress for requests that are transcribed window by window."""

from collections.abc import Generator
from contextlib import contextmanager

from sensorium.errors import QueueFull

_RETRY_AFTER_SECONDS = 5.0


class HeldSeconds:
    """Counts seconds of audio in progress, at most `most`. Belongs to the event loop."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._held = 0.0

    @contextmanager
    def hold(self, seconds: float) -> Generator[None]:
        """Counts a recording of `seconds` for as long as the context is open. One recording is always admitted.

        Raises:
            QueueFull: the recordings in progress and this one would exceed the limit.
        """
        if self._held and self._held + seconds > self._most:
            raise QueueFull(
                f"Recordings of {self._held:.0f} s are in progress; the limit is {self._most:.0f} s.",
                metadata={"heldSeconds": f"{self._held:.0f}"},
                retry_after=_RETRY_AFTER_SECONDS,
            )
        self._held += seconds
        try:
            yield
        finally:
            self._held -= seconds
