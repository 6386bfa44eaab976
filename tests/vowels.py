"""Synthesizes vowels that a voice activity detector takes for speech, without a text-to-speech model."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Samples = NDArray[np.float32]
RATE = 16_000

_FORMANTS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
_BANDWIDTHS = (80, 100, 120)
_SECONDS = 0.22
_PITCH = 120.0


def said(*texts: str | float) -> Samples:
    """Returns samples at 16 kHz. Strings of vowels are spoken, a space is a short pause, a float is silence in s."""
    parts = [np.zeros(round(text * RATE)) if isinstance(text, float) else _vowels(text) for text in texts]
    return np.concatenate(parts).astype(np.float32)


def linear16(samples: Samples) -> bytes:
    """Encodes samples as LINEAR16: signed 16-bit little-endian PCM."""
    return np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def _vowels(text: str) -> NDArray[np.float64]:
    count = round(_SECONDS * RATE)
    time = np.arange(count) / RATE
    parts = []
    for i, vowel in enumerate(text):
        if vowel == " ":
            parts.append(np.zeros(count // 2))
            continue
        phase = np.cumsum(_PITCH * (1 + 0.05 * np.sin(i) + 0.03 * np.sin(2 * np.pi * 5 * time))) / RATE
        sound = np.diff(np.floor(phase), prepend=0)  # glottal pulses: one click per period
        for formant, bandwidth in zip(_FORMANTS[vowel], _BANDWIDTHS, strict=True):
            decay = np.exp(-np.pi * bandwidth / RATE)
            sound = lfilter([1 - decay], [1, -2 * decay * np.cos(2 * np.pi * formant / RATE), decay**2], sound)
        parts.append(sound * np.sqrt(np.sin(np.pi * np.arange(count) / count)))
    sounds = np.concatenate(parts)
    return 0.3 * sounds / np.abs(sounds).max()
