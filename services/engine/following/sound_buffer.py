"""Buffer of an utterance's samples that a model has still to read."""

import numpy as np

from services.engine.media.recording import Samples


class SoundBuffer:
    """Samples, addressed by their index in the utterance with the silence before it."""

    def __init__(self, silence: int) -> None:
        """Starts with `silence` samples of silence."""
        self._pieces: list[Samples] = [np.zeros(silence, np.float32)]
        self._begin = 0
        self.end = silence
        """Index after the last sample."""

    def push(self, samples: Samples) -> None:
        """Appends samples, `[n]`."""
        self._pieces.append(samples)
        self.end += len(samples)

    def read(self, begin: int, end: int) -> Samples:
        """Returns samples `begin` to `end - 1`, padded with silence beyond the last one."""
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        found = self._pieces[0][begin - self._begin : max(end - self._begin, 0)]
        return np.pad(found, (0, end - begin - len(found)))

    def forget(self, before: int) -> None:
        """Drops samples before the index `before`. To be called after `read`, which merges the pieces."""
        if before > self._begin:
            self._pieces = [self._pieces[0][before - self._begin :], *self._pieces[1:]]
            self._begin = before
