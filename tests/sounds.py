"""Synthetic sounds, as samples, as files and as media of requests."""

from io import BytesIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sensorium.v1 import common_pb2 as common

Samples = NDArray[np.float32]
RATE = 16_000


def sound(seconds: float, seed: int = 0, *, rate: int = RATE, channels: int = 1) -> Samples:
    """Returns a gliding tone with noise: `[samples]`, or `[samples, channels]` with different channels."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = [
        0.3 * np.sin(2 * np.pi * (random.uniform(100, 400) * time + np.sin(random.uniform(1, 9) * time)))
        + random.normal(0, 0.03, len(time))
        for _ in range(channels)
    ]
    return np.stack(tones, 1).astype(np.float32)[:, 0 if channels == 1 else slice(None)]


def encoded(samples: Samples, rate: int = RATE, file_format: str = "WAV", subtype: str = "FLOAT") -> bytes:
    """Encodes the samples as an audio file."""
    file = BytesIO()
    soundfile.write(file, samples, rate, format=file_format, subtype=subtype)
    return file.getvalue()


def media(samples: Samples, rate: int = RATE) -> common.Media:
    """Returns the samples as a lossless float WAV file, without a declared media type."""
    return common.Media(data=encoded(samples, rate))
