"""Makes the recordings to transcribe, the same for all systems."""

from io import BytesIO
from typing import Any

import numpy as np
import soundfile

RATE = 16_000
_SHORTEST, _LONGEST = 2.0, 15.0
"""Shortest and longest recording, in seconds."""


def recordings(count: int) -> list[bytes]:
    """Returns FLAC files of different lengths between _SHORTEST and _LONGEST, all with different sound."""
    random = np.random.default_rng(20_260_101)
    return [_file(random.normal(0, 0.1, round(random.uniform(_SHORTEST, _LONGEST) * RATE))) for _ in range(count)]


def samples(file: bytes) -> Any:
    """Returns the samples of a recording, float32 `[n]`."""
    return soundfile.read(BytesIO(file), dtype="float32")[0]


def total_seconds(files: list[bytes]) -> float:
    """Returns the total length of recordings in seconds."""
    return sum(soundfile.info(BytesIO(file)).duration for file in files)


def _file(sound: Any) -> bytes:
    file = BytesIO()
    soundfile.write(file, sound.clip(-1, 1), RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()
