"""G.711 decoding tables: the sample of each byte value."""

import numpy as np
from numpy.typing import NDArray

_BYTES = np.arange(256)
_FULL_SCALE = 32_768.0


def _mu_law() -> NDArray[np.float32]:
    code = ~_BYTES & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32) / np.float32(_FULL_SCALE)


def _a_law() -> NDArray[np.float32]:
    code = _BYTES ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.float32) / np.float32(_FULL_SCALE)


MU_LAW = _mu_law()
"""mu-law: float32 samples in [-1, 1], indexed by byte."""
A_LAW = _a_law()
"""A-law: float32 samples in [-1, 1], indexed by byte."""
