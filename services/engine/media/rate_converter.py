"""Audio at another rate, piece by piece without seams."""

import numpy as np
import soxr
from numpy.typing import NDArray

_QUALITY = "HQ"


class RateConverter:
    """Converts one channel that comes in pieces. Pieces put together are what the whole would be converted to."""

    def __init__(self, given: int, wanted: int) -> None:
        """Converts `given` samples per second to `wanted`."""
        self._stream = None if given == wanted else soxr.ResampleStream(given, wanted, 1, "float32", _QUALITY)

    def push(self, samples: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """Takes the samples that follow, `[samples]`, and returns what is known by now, which may be nothing.

        After the `last` ones everything is.
        """
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(np.ascontiguousarray(samples, dtype=np.float32), last=last)
