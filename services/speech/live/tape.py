"""Buffer of a stream's recent audio."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Tape:
    """Samples, addressed by their index in the whole stream."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self._begin = 0
        self.end = 0
        """Index after the last sample."""

    def append(self, samples: Samples) -> None:
        """Appends samples, `[n]`."""
        if len(samples):
            self._blocks.append(samples)
            self.end += len(samples)

    def read(self, begin: int, end: int) -> Samples:
        """Returns a copy of samples `begin` to `end - 1`, none of which may have been dropped."""
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
        """Drops whole blocks that lie before the index `before`."""
        while self._blocks and self._begin + len(self._blocks[0]) <= before:
            self._begin += len(self._blocks.popleft())
