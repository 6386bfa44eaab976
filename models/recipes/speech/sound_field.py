"""Degradations of sounds: noise, a telephone line, too much or too little gain."""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
"""Exponents with which each noise's spectrum falls with frequency."""
MU = 255.0
GROUNDS_SEED = 17


def noise(rng: np.random.Generator, count: int, colour: str | None = None) -> Samples:
    """`count` samples of noise with standard deviation 1."""
    power = COLOURS[colour] if colour else rng.uniform(0, 1)
    whole = 1 << max(count - 1, 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(whole))
    spectrum /= np.maximum(np.arange(len(spectrum)), max(1.0, len(spectrum) / 400)) ** power
    coloured = np.fft.irfft(spectrum, whole)[:count]
    return (coloured / max(coloured.std(), 1e-9)).astype(np.float32)


def hum(rng: np.random.Generator, count: int, rate: int) -> Samples:
    """Mains hum with a few overtones, of deviation 1."""
    at = np.arange(count) * (2 * np.pi * rng.choice((50, 60)) / rate)
    tones = sum(np.sin(k * at + rng.uniform(0, 6.28)) / k for k in (1, 2, 3, 5))
    return (tones / max(float(np.std(tones)), 1e-9)).astype(np.float32)


@cache
def grounds(rate: int) -> list[Samples]:
    """Forty seconds each of noise of many colours, and of hum."""
    rng = np.random.default_rng(GROUNDS_SEED)
    return [hum(rng, 40 * rate, rate) if at % 7 == 0 else noise(rng, 40 * rate) for at in range(28)]


def with_noise(rng: np.random.Generator, samples: Samples, decibels: float, rate: int) -> Samples:
    """The sound, of less than forty seconds, over noise; its loud parts are so many decibels above that."""
    ground = grounds(rate)[rng.integers(len(grounds(rate)))]
    first = int(rng.integers(len(ground) - len(samples)))
    return samples + ground[first : first + len(samples)] * np.float32(loudness(samples) * 10 ** (-decibels / 20))


def loudness(samples: Samples) -> float:
    """The root of the mean square where there is sound."""
    loud = samples[np.abs(samples) > 0.02 * np.abs(samples).max(initial=0)]
    return float(np.sqrt(np.mean(loud**2))) if len(loud) else 0.05


def by_telephone(samples: Samples, rate: int) -> Samples:
    """What an 8 kHz line of 8-bit mu-law samples leaves of a sound."""
    narrow = np.clip(soxr.resample(samples, rate, 8000), -1, 1)
    steps = np.round(np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU) * 127) / 127
    wide = np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU
    return fitted(soxr.resample(wide.astype(np.float32), 8000, rate), len(samples))


def fitted(samples: Samples, count: int) -> Samples:
    """Exactly so many samples, with silence after them where they are fewer."""
    return np.pad(samples[:count], (0, max(0, count - len(samples))))


def quantized(samples: Samples) -> Samples:
    """Clipped at 1 and rounded to 16 bits."""
    return (np.round(np.clip(samples, -1, 1) * 32767) / 32768).astype(np.float32)
