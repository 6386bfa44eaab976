"""Measures of the model cards: word errors, and utterances detected in a recording."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FRAME = 0.02
"""Frame length of the loudness, in seconds."""


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """The edit distance of two texts in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Word errors divided by spoken words, over (spoken, transcribed) pairs."""
    errors = sum(word_errors(said.split(), heard.split()) for said, heard in pairs)
    return errors / max(1, sum(len(said.split()) for said, _ in pairs))


def utterances(
    samples: NDArray[np.float32], rate: int, gap: float = 0.3, padding: float = 0.2
) -> list[NDArray[np.float32]]:
    """The stretches louder than the rest, ended by so many seconds of quiet, with seconds of padding on either side."""
    size = int(FRAME * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    levels = 10 * np.log10((frames**2).mean(1) + 1e-9)
    quiet, loud = np.percentile(levels, (10, 95))
    voiced = np.flatnonzero(levels > quiet + 0.35 * (loud - quiet))
    if loud - quiet < 6 or not len(voiced):
        return [samples]
    parts = np.split(voiced, np.flatnonzero(np.diff(voiced) > gap / FRAME) + 1)
    pad = int(padding * rate)
    return [samples[max(0, part[0] * size - pad) : (part[-1] + 1) * size + pad] for part in parts]


def agreed(readings: Sequence[str]) -> list[str]:
    """The leading words on which two consecutive transcripts of a growing recording agree; never taken back."""
    stable: list[str] = []
    for earlier, later in pairwise(readings):
        common = 0
        for a, b in zip(earlier.split(), later.split(), strict=False):
            if a != b:
                break
            common += 1
        if common > len(stable):
            stable += later.split()[len(stable) : common]
    return stable
