"""Recordings made of spoken clips: several sentences, pauses, cuts, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.recipes.speech.sound_field import by_telephone, noise, quantized, with_noise
from models.recipes.speech.voices import RATE, Clip

HEARD, LOST = 0.9, 0.4
"""A cut leaves at least the first share of a word, which then counts as heard, or at most the second: not heard."""


@dataclass(frozen=True)
class Word:
    """A word, or words known only together, and its place in samples."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Recording:
    """A sound at 16 kHz and the words in it."""

    samples: NDArray[np.float32]
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """What is said."""
        return " ".join(word.text for word in self.words)


def in_a_row(rng: np.random.Generator, clips: list[Clip], pauses: tuple[float, float], around: float) -> Recording:
    """Clips one after the other, with pauses of seconds from `pauses`, and up to `around` seconds before and after."""
    parts: list[NDArray[np.float32]] = [silence(rng.uniform(0, around))]
    words: list[Word] = []
    for clip in clips:
        at = sum(map(len, parts))
        known = clip.words or ((clip.text, 0, len(clip.samples)),)
        words += [Word(text, at + start, at + end) for text, start, end in known]
        parts += [clip.samples * np.float32(rng.uniform(0.3, 1)), silence(rng.uniform(*pauses))]
    parts[-1] = silence(rng.uniform(0, around))
    return Recording(np.concatenate(parts), tuple(words))


def silence(seconds: float) -> NDArray[np.float32]:
    """Silence of this many seconds."""
    return np.zeros(int(seconds * RATE), np.float32)


def hesitated(rng: np.random.Generator, whole: Recording) -> Recording:
    """The recording with up to a second of silence before one of its words."""
    chosen = int(rng.integers(len(whole.words)))
    at, pause = whole.words[chosen].start, silence(rng.uniform(0.15, 1))
    samples = np.concatenate([whole.samples[:at], pause, whole.samples[at:]])
    later = tuple(Word(w.text, w.start + len(pause), w.end + len(pause)) for w in whole.words[chosen:])
    return Recording(samples, whole.words[:chosen] + later)


def begun(rng: np.random.Generator, whole: Recording) -> Recording:
    """The recording up to some moment, as a stream has it before the rest is said."""
    moment = int(rng.uniform(0.1, 1) * len(whole.samples))
    for word in whole.words:
        share = (moment - word.start) / max(1, word.end - word.start)
        if (LOST if " " not in word.text else 0) < share < 1:
            moment = (
                max(moment, word.start + int(HEARD * (word.end - word.start))) if " " not in word.text else word.end
            )
    kept = tuple(w for w in whole.words if moment >= w.start + HEARD * (w.end - w.start))
    return Recording(whole.samples[:moment], kept)


def resumed(rng: np.random.Generator, whole: Recording) -> Recording:
    """The recording from some moment on: `begun`, with time running backwards."""
    end = len(whole.samples)
    turned = Recording(whole.samples[::-1], tuple(Word(w.text, end - w.end, end - w.start) for w in whole.words[::-1]))
    rest = begun(rng, turned)
    end = len(rest.samples)
    words = tuple(Word(w.text, end - w.end, end - w.start) for w in rest.words[::-1])
    return Recording(rest.samples[::-1].copy(), words)


def heard_badly(rng: np.random.Generator, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Degrades a sound like microphones, rooms and telephone lines: mostly a little noise; clipping; narrow band."""
    if rng.random() < 0.6:
        samples = with_noise(rng, samples, rng.uniform(8, 25) if rng.random() < 0.5 else rng.uniform(25, 60), RATE)
    samples = samples * np.float32(np.exp(rng.uniform(np.log(0.05), 0)) / max(1.0, np.abs(samples).max(initial=0)))
    if rng.random() < 0.12:
        samples = samples * np.float32(rng.uniform(2, 6) / max(np.abs(samples).max(initial=0), 1e-3))
    if rng.random() < 0.25:
        samples = by_telephone(samples, RATE)
    return quantized(samples)


def without_speech(rng: np.random.Generator) -> NDArray[np.float32]:
    """Up to four seconds of silence or noise."""
    count = int(rng.uniform(0.2, 4) * RATE)
    loud = 0.0 if rng.random() < 0.25 else np.exp(rng.uniform(np.log(1e-4), np.log(0.3)))
    return quantized(noise(rng, count) * np.float32(loud))


def training_recording(rng: np.random.Generator, clips: list[Clip], hard: float = 1.0) -> Recording:
    """A recording of drawn clips: one to three of them, hesitated, cut and damaged by chance; a share is hard so."""
    if rng.random() > hard:
        return in_a_row(rng, [clips[rng.integers(len(clips))]], (0, 0), 0.1)
    if rng.random() < 0.04:
        return Recording(without_speech(rng), ())
    chosen = [clips[i] for i in rng.integers(len(clips), size=rng.choice((1, 2, 3), p=(0.55, 0.25, 0.2)))]
    made = in_a_row(rng, chosen, (0.05, 1.2), rng.choice((0.1, 0.4, 1.2), p=(0.3, 0.5, 0.2)))
    for change, chance in ((hesitated, 0.2), (begun, 0.3), (resumed, 0.1)):
        made = change(rng, made) if made.words and rng.random() < chance else made
    if len(made.samples) < RATE // 10:
        made = Recording(np.pad(made.samples, (0, RATE // 10)), made.words)
    return Recording(heard_badly(rng, made.samples), made.words)
