"""Resamples audio piece by piece."""

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Resampler:
    """Resamples one recording, given in pieces of any size.

    All pieces together are what they would be in one, which `soxr` makes at high quality.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        """Resamples from `rate` to `wanted` samples per second."""
        same = rate == wanted
        self._stream = None if same else soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples, *, last: bool = False) -> Samples:
        """Adds a piece and returns the output so far available, possibly none; the `last` piece flushes the rest."""
        return samples if self._stream is None else self._stream.resample_chunk(samples, last=last)
