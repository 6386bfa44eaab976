"""Synthesizes labelled sounds, each with a one-word kind and a short description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.recipes.speech.phrases import held_out_phrases, training_phrases
from models.recipes.speech.sound_field import fitted, hum, noise, quantized
from models.recipes.speech.voices import RATE, espeak_voice, flite_voice, speak

Samples = NDArray[np.float32]
SECONDS = 2.0
COUNTS = {"two": 2, "three": 3, "four": 4}
HELD_OUT = 4
"""Every fourth semitone is kept from training."""


@dataclass(frozen=True)
class Sound:
    """Two seconds at 16 kHz, the kind of sound, and its description."""

    samples: Samples
    kind: str
    words: str


def pitch(rng: np.random.Generator, held_out: bool, low: float, high: float) -> float:
    """A frequency between two, of the semitones of one part."""
    steps = np.arange(int(12 * np.log2(low / 27.5)), int(12 * np.log2(high / 27.5)) + 1)
    mine = steps[(steps % HELD_OUT == 0) == held_out]
    return float(27.5 * 2 ** (rng.choice(mine) / 12))


def wave(frequencies: Samples | float, seconds: float) -> Samples:
    """A sine of a frequency, or of one for every sample."""
    count = int(seconds * RATE)
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequencies, count)) / RATE).astype(np.float32)


def faded(samples: Samples, seconds: float = 0.01) -> Samples:
    """The sound with soft ends."""
    edge = np.linspace(0, 1, int(seconds * RATE), dtype=np.float32)
    samples = samples.copy()
    samples[: len(edge)] *= edge
    samples[len(samples) - len(edge) :] *= edge[::-1]
    return samples


def timbre(rng: np.random.Generator, frequencies: Samples | float, seconds: float) -> Samples:
    """A note with some overtones."""
    overtones = [wave(frequencies * k, seconds) * rng.uniform(0, 0.5) / k for k in (2, 3)]
    return faded(wave(frequencies, seconds) + overtones[0] + overtones[1])


def tone(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """One long note, low or high."""
    low = rng.random() < 0.5
    height = pitch(rng, held_out, *((110, 330) if low else (900, 2600)))
    return timbre(rng, height, rng.uniform(0.7, 1.8)), f"a {'low' if low else 'high'} tone"


def glide(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """A note that moves by one and a half to three octaves."""
    seconds, low = rng.uniform(0.6, 1.8), pitch(rng, held_out, 150, 500)
    heights = np.geomspace(low, low * 2 ** rng.uniform(1.5, 3), int(seconds * RATE))
    rising = rng.random() < 0.5
    return timbre(rng, heights if rising else heights[::-1], seconds), f"a {'rising' if rising else 'falling'} tone"


def siren(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """A note that goes up and down several times."""
    seconds, middle = rng.uniform(1.3, 1.9), pitch(rng, held_out, 500, 1200)
    turns = np.sin(2 * np.pi * np.arange(int(seconds * RATE)) / RATE * rng.uniform(1.8, 4) + rng.uniform(0, 6.28))
    return timbre(rng, middle * 2 ** (turns * rng.uniform(0.4, 0.8)), seconds), "a siren"


def repeated(rng: np.random.Generator, one: Samples, kind: str) -> tuple[Samples, str]:
    """Two to four times the same with gaps between."""
    name = list(COUNTS)[rng.integers(len(COUNTS))]
    gap = np.zeros(int(rng.uniform(0.15, 0.3) * RATE), np.float32)
    return np.concatenate([one, gap] * COUNTS[name])[: -len(gap)], f"{name} {kind}"


def beeps(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """Short notes of one height."""
    return repeated(rng, timbre(rng, pitch(rng, held_out, 500, 2000), rng.uniform(0.08, 0.18)), "beeps")


def clicks(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:  # noqa: ARG001
    """Very short bursts."""
    count = int(rng.uniform(0.004, 0.015) * RATE)
    burst = noise(rng, count) * np.exp(-np.arange(count) / (count / 4))
    return repeated(rng, burst.astype(np.float32), "clicks")


def rush(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:  # noqa: ARG001
    """A hiss or a rumble."""
    hiss = rng.random() < 0.5
    return faded(noise(rng, int(rng.uniform(0.8, 1.8) * RATE), "white" if hiss else "brown"), 0.05), (
        "a hiss" if hiss else "a rumble"
    )


def chord(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """Three notes at once, major or minor."""
    root, seconds = pitch(rng, held_out, 200, 600), rng.uniform(0.7, 1.8)
    steps = (0, 4 if rng.random() < 0.5 else 3, 7)
    return np.sum([timbre(rng, root * 2 ** (step / 12), seconds) for step in steps], axis=0), "a chord"


def bell(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """A stroke whose inharmonic overtones die away."""
    base, seconds = pitch(rng, held_out, 400, 1100), rng.uniform(1, 1.8)
    at = np.arange(int(seconds * RATE)) / RATE
    parts = [
        wave(base * ratio, seconds) * np.exp(-at * rng.uniform(2, 4) * ratio**0.5) / ratio**0.5
        for ratio in (1, 2.76, 5.4)
    ]
    return np.sum(parts, axis=0).astype(np.float32), "a bell"


def mains(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:  # noqa: ARG001
    """The hum of a transformer."""
    return faded(hum(rng, int(rng.uniform(0.8, 1.9) * RATE), RATE), 0.05), "a hum"


def voice(rng: np.random.Generator, held_out: bool) -> tuple[Samples, str]:
    """Somebody speaking; held out are voices and texts."""
    (text,) = (held_out_phrases if held_out else training_phrases)(rng, 1)
    speaker = flite_voice(rng, held_out) if rng.random() < 0.25 else espeak_voice(rng, held_out)
    return speak(text, speaker).samples, "a voice"


KINDS: dict[str, Callable[[np.random.Generator, bool], tuple[Samples, str]]] = {
    "tone": tone, "glide": glide, "siren": siren, "beeps": beeps, "clicks": clicks, "noise": rush, "chord": chord,
    "bell": bell, "hum": mains, "speech": voice,
}  # fmt: skip
WORDS = (
    "a low tone", "a high tone", "a rising tone", "a falling tone", "a siren",
    *(f"{count} {kind}" for kind in ("beeps", "clicks") for count in COUNTS),
    "a hiss", "a rumble", "a chord", "a bell", "a hum", "a voice",
)  # fmt: skip


def draw_sound(rng: np.random.Generator, kind: str, held_out: bool) -> Sound:
    """A sound of a kind somewhere in two seconds, loud or soft, over a little noise."""
    made, words = KINDS[kind](rng, held_out)
    count = int(SECONDS * RATE)
    made = (made / np.abs(made).max())[:count].astype(np.float32)
    placed = fitted(np.pad(made, (int(rng.integers(count - len(made) + 1)), 0)), count)
    ground = noise(rng, count) * np.float32(10 ** rng.uniform(-4.5, -2))
    return Sound(quantized((placed + ground) * np.float32(rng.uniform(0.1, 0.9))), kind, words)


def draw_sounds(seed: int, count: int, held_out: bool) -> list[Sound]:
    """Sounds of every kind in turn, the first ones the same for every count."""
    names = list(KINDS)
    return [draw_sound(np.random.default_rng((seed, at)), names[at % len(names)], held_out) for at in range(count)]
