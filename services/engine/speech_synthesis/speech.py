"""One request, from its acceptance until its last sound."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from sensorium.call_record import followed
from services.engine.generation.requests.request import GenerationTimes
from services.engine.generation.requests.times import times_of
from services.engine.speech_synthesis.stream import SpeechStream


class Rest:
    """Stands between two sentences: who is far ahead of his reader may wait there, as nothing of the model is kept."""


REST = Rest()
Step = Tensor | Rest | None
"""What is to be heard; None where that is nothing yet."""


@dataclass(eq=False)
class Speech:
    """Belongs to the engine's thread, but for the stream."""

    steps: Iterator[Step]
    """Each takes the model a little further, and yields what is to be heard by then."""
    cost: int
    """Tokens to be read."""
    deadline: float | None
    """On the clock of `time.monotonic`, as all times here."""
    arrival: float
    stream: SpeechStream
    turn: float = 0.0
    """Seconds it had of the model, counted from what others had when it came."""
    unread: int = 0
    """Samples that its reader has not taken."""
    touched: float = 0.0
    """When its reader last took something; before that, when it came."""
    resting: bool = False
    """Whether it is between two sentences."""
    compute: float = 0.0
    ended: bool = False

    def __post_init__(self) -> None:
        self.timeline = followed(self.arrival)
        self.touched = self.arrival

    def times(self, now: float) -> GenerationTimes:
        """Returns where the time went, of a request that ends now."""
        return times_of(self.timeline, now, self.compute)
