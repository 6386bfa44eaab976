"""What the verbs of images and of recordings alike know of the field that holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sensorium.errors import Violation
from services.engine.batching.job import Item
from services.media.ask import MediaInput


@dataclass(frozen=True)
class ReadMedia:
    """What the model reads of them, and how much that was of either kind, as `Prepared` tells it."""

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
        """What models compare with texts."""
        ...

    @property
    def most(self) -> int:
        """How many there may be."""
        ...

    def items(self, sent: MediaInput, wrong: list[Violation], *, fewest: int = 1) -> ReadMedia:
        """Returns what the model reads of each that is right. Adds what is wrong to `wrong`.

        Raises:
            DeadlineExceeded: the deadline passed before the last one was read.
        """
        ...
