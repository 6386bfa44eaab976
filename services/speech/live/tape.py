"""The audio of a stream, as far back as somebody may still want it."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Tape:
    """Samples by their place in the stream."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self._begin = 0
        self.end = 0
        """The place behind the last sample."""

    def append(self, samples: Samples) -> None:
        """Takes the next samples, `[n]`."""
        if len(samples):
            self._blocks.append(samples)
            self.end += len(samples)

    def read(self, begin: int, end: int) -> Samples:
        """Returns a copy of the samples from place `begin` to before `end`, of which none was forgotten."""
        assert begin >= self._begin, "this was forgotten"
        parts = []
        place = self._begin
        for block in self._blocks:
            if place >= end:
                break
            if place + len(block) > begin:
                parts.append(block[max(begin - place, 0) : end - place])
            place += len(block)
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def forget(self, before: int) -> None:
        """Gives up what lies before a place, block by block."""
        while self._blocks and self._begin + len(self._blocks[0]) <= before:
            self._begin += len(self._blocks.popleft())
