"""From one rate of samples to another."""

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Resampler:
    """Takes the samples of one recording in pieces of any size, and gives them back at another rate.

    All pieces together are what they would be in one, which `soxr` makes at high quality.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        """Makes one from `rate` to `wanted` samples per second."""
        same = rate == wanted
        self._stream = None if same else soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples, *, last: bool = False) -> Samples:
        """Returns what is known of the result, which may be nothing yet; the rest comes with the `last` piece."""
        return samples if self._stream is None else self._stream.resample_chunk(samples, last=last)
