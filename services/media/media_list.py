"""The field of a request that holds images or recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sensorium.errors import Violation
from services.engine.batching.job import Item
from services.media.ask import MediaInput


@dataclass(frozen=True)
class ReadMedia:
    """The model's inputs, and their usage as in `Prepared`."""

    items: Sequence[Item]
    images: int = 0
    audio_seconds: float | None = None


class MediaList(Protocol):
    """The images or the recordings of a request."""

    @property
    def field(self) -> str:
        """The name of the field."""
        ...

    @property
    def noun(self) -> str:
        """What messages call one of them."""
        ...

    @property
    def most(self) -> int:
        """The most that a request may hold."""
        ...

    def items(self, sent: MediaInput, wrong: list[Violation], *, fewest: int = 1) -> ReadMedia:
        """Returns the model's inputs of each valid one. Adds what is wrong with others to `wrong`.

        Raises:
            DeadlineExceeded: the deadline passed before the last one was read.
        """
        ...
