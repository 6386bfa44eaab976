"""The samples of one utterance that a model still has to read."""

import numpy as np

from services.engine.media.recording import Samples


class SoundBuffer:
    """Samples by their place in the utterance, silence before it included."""

    def __init__(self, silence: int) -> None:
        """Begins with so many samples of silence."""
        self._pieces: list[Samples] = [np.zeros(silence, np.float32)]
        self._begin = 0
        self.end = silence
        """The place behind the last sample."""

    def push(self, samples: Samples) -> None:
        """Takes the next samples."""
        self._pieces.append(samples)
        self.end += len(samples)

    def read(self, begin: int, end: int) -> Samples:
        """Returns the samples from place `begin` to before `end`; silence where there are none yet."""
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        found = self._pieces[0][begin - self._begin : max(end - self._begin, 0)]
        return np.pad(found, (0, end - begin - len(found)))

    def forget(self, before: int) -> None:
        """Gives up what lies before a place. To be called behind `read`."""
        if before > self._begin:
            self._pieces = [self._pieces[0][before - self._begin :], *self._pieces[1:]]
            self._begin = before
