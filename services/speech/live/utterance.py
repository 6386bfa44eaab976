"""One utterance, which grows while it is heard."""

import numpy as np
from numpy.typing import NDArray

from services.speech.live.tape import Tape

Samples = NDArray[np.float32]


class Utterance:
    """A stretch of a stream. Places are in samples from the beginning of the stream."""

    def __init__(self, index: int, begin: int, tape: Tape, uncut: int) -> None:
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
        self._samples = np.empty(0, np.float32)

    @property
    def length(self) -> int:
        """Samples heard of it."""
        return self.end - self.begin

    def finish(self, end: int) -> None:
        """Ends it there, and takes its samples off the tape."""
        self.end = end
        self._samples = self._tape.read(self.begin, end)
        self.over = True

    def samples(self) -> Samples:
        """Returns those heard of it, `[length]`."""
        return self._samples if self.over else self._tape.read(self.begin, self.end)
