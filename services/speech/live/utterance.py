"""One utterance, which grows while it is spoken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.speech.live.tape import Tape

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Reach:
    """What a model reads at once, in samples."""

    window: int
    """Longest input."""
    context: int = 0
    """Audio before the utterance that is read with it to improve accuracy."""


@dataclass(frozen=True)
class Excerpt:
    """The model's input for an utterance."""

    samples: Samples
    """`[n]`."""
    context: int
    """How many of the samples precede the utterance."""


class Utterance:
    """A stretch of a stream. Positions are sample indices from the stream's beginning."""

    def __init__(self, index: int, begin: int, tape: Tape, reach: Reach, uncut: int) -> None:
        """Starts empty. A cut may move only samples after the first `uncut` ones to the next utterance."""
        self.index = index
        self.begin = begin
        self.uncut = uncut
        self.end = begin
        """Index after its last sample so far."""
        self.settled = False
        """Whether it grows no more unless speech resumes."""
        self.over = False
        self._tape = tape
        self._reach = reach
        self._whole: Excerpt | None = None

    @property
    def length(self) -> int:
        """Number of samples so far."""
        return self.end - self.begin

    def finish(self, end: int) -> None:
        """Ends it at index `end` and copies its samples from the tape."""
        self.end = end
        self._whole = self._excerpt()
        self.over = True

    def excerpt(self) -> Excerpt:
        """Returns its samples so far, with as much context before them as the model has room for."""
        return self._whole or self._excerpt()

    def since(self, offset: int) -> Samples:
        """Returns its samples so far without the first `offset`."""
        if self._whole is not None:
            return self._whole.samples[self._whole.context + offset :]
        return self._tape.read(self.begin + offset, self.end)

    def _excerpt(self) -> Excerpt:
        context = max(min(self._reach.context, self._reach.window - self.length, self.begin), 0)
        return Excerpt(self._tape.read(self.begin - context, self.end), context)
