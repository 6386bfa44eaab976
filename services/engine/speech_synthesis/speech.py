"""One request in the engine, from admission to its last audio."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from sensorium.call_record import followed
from services.engine.generation.requests.request import GenerationTimes
from services.engine.generation.requests.times import times_of
from services.engine.speech_synthesis.stream import SpeechStream


class Rest:
    """Marks the boundary between two sentences, where a request has no cache and may wait for its reader."""


REST = Rest()
Step = Tensor | Rest | None
"""Audio, a boundary between sentences, or None if no audio is ready."""


@dataclass(eq=False)
class Speech:
    """Belongs to the engine's thread, except for `stream`."""

    steps: Iterator[Step]
    """Each step runs the model a little further and yields the audio that is ready. A generator that returns whether a
    sentence was cut."""
    cost: int
    """Tokens of its text."""
    deadline: float | None
    """On the clock of `time.monotonic`, as all times here."""
    arrival: float
    stream: SpeechStream
    turn: float = 0.0
    """Model time it has used in seconds, starting from the least of the others when it came."""
    unread: int = 0
    """Samples that its reader has not read."""
    touched: float = 0.0
    """When its reader last read something; before that, its arrival."""
    resting: bool = False
    """Whether it is between two sentences."""
    compute: float = 0.0
    ended: bool = False

    def __post_init__(self) -> None:
        self.timeline = followed(self.arrival)
        self.touched = self.arrival

    def times(self, now: float) -> GenerationTimes:
        """Returns the timing of a request that ends now."""
        return times_of(self.timeline, now, self.compute)
