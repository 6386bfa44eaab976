"""One utterance, which grows while it is heard."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.speech.live.tape import Tape

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Reach:
    """How much a model reads at once, in samples."""

    window: int
    """At most."""
    context: int = 0
    """What was before an utterance and makes it read better."""


@dataclass(frozen=True)
class Excerpt:
    """An utterance as the model is to read it."""

    samples: Samples
    """`[n]`."""
    context: int
    """How many of them are before it."""


class Utterance:
    """A stretch of a stream. Places are in samples from the beginning of the stream."""

    def __init__(self, index: int, begin: int, tape: Tape, reach: Reach, uncut: int) -> None:
        """Makes one without any length. Only what lies `uncut` samples behind its beginning may be left to the next."""
        self.index = index
        self.begin = begin
        self.uncut = uncut
        self.end = begin
        """Behind the last sample of it that was heard."""
        self.settled = False
        """Whether it grows no more while the silence lasts."""
        self.over = False
        self._tape = tape
        self._reach = reach
        self._whole: Excerpt | None = None

    @property
    def length(self) -> int:
        """Samples heard of it."""
        return self.end - self.begin

    def finish(self, end: int) -> None:
        """Ends it there, and takes its samples off the tape."""
        self.end = end
        self._whole = self._excerpt()
        self.over = True

    def excerpt(self) -> Excerpt:
        """Returns what was heard of it, with as much before it as the model has room for."""
        return self._whole or self._excerpt()

    def since(self, offset: int) -> Samples:
        """Returns the samples heard of it behind its first `offset`."""
        if self._whole is not None:
            return self._whole.samples[self._whole.context + offset :]
        return self._tape.read(self.begin + offset, self.end)

    def _excerpt(self) -> Excerpt:
        context = max(min(self._reach.context, self._reach.window - self.length, self.begin), 0)
        return Excerpt(self._tape.read(self.begin - context, self.end), context)
