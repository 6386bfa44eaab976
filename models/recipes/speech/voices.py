"""The text-to-speech voices for training, and held-out ones for evaluation."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from models.recipes.speech.espeak import espeak

RATE = 16_000
NAMES = tomllib.loads(Path(__file__).with_name("voices.toml").read_text(encoding="utf-8"))
QUIET = 0.01
"""A word ends with its last sample that is at least so loud, a part of the loudest."""


@dataclass(frozen=True)
class Voice:
    """One manner of speaking of one program's voice."""

    engine: str
    name: str
    speed: float
    pitch: float
    liveliness: float = 50.0


@dataclass(frozen=True)
class Clip:
    """A spoken text at 16 kHz, loudest sample 1, and from which to which sample each word is heard, where known."""

    text: str
    samples: NDArray[np.float32]
    words: tuple[tuple[str, int, int], ...] = ()


def espeak_voice(rng: np.random.Generator, held_out: bool = False) -> Voice:
    """A voice of espeak-ng; held-out ones have a timbre, and a third an accent too, that training never has."""
    known, unknown = NAMES["espeak"], NAMES["espeak"]["held_out"]
    timbre = pick(rng, (unknown if held_out else known)["timbres"])
    accent = pick(rng, (unknown if held_out and rng.random() < 1 / 3 else known)["accents"])
    return Voice(
        "espeak", f"{accent}+{timbre}", rng.integers(125, 205), rng.integers(25, 76), rng.integers(25, 76)
    )  # fmt: skip


def flite_voice(rng: np.random.Generator, held_out: bool = False) -> Voice:
    """A voice of flite, somewhat slower or faster, higher or lower than it is."""
    voices = NAMES["flite"]["held_out" if held_out else "voices"]
    name = pick(rng, tuple(voices))
    return Voice("flite", name, rng.uniform(0.85, 1.25), voices[name] * rng.uniform(0.85, 1.2))


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options."""
    return options[rng.integers(len(options))]


def speak(text: str, voice: Voice) -> Clip:
    """The text in a voice, without silence before and after. Commas in the text are pauses and not part of it."""
    spoken, words = by_espeak(text, voice) if voice.engine == "espeak" else (by_flite(text, voice), ())
    loud = np.flatnonzero(np.abs(spoken) > QUIET * np.abs(spoken).max())
    first, last = int(loud[0]), int(loud[-1]) + 1
    heard = tuple((word, max(start, first) - first, min(end, last) - first) for word, start, end in words)
    samples = spoken[first:last] / np.abs(spoken).max()
    return Clip(text.replace(",", ""), samples.astype(np.float32), heard)


def by_espeak(text: str, voice: Voice) -> tuple[NDArray[np.float32], tuple[tuple[str, int, int], ...]]:
    """Speech of espeak-ng, and its words; words it runs together count as one."""
    heard = espeak().speak(text, voice.name, int(voice.speed), int(voice.pitch), int(voice.liveliness))
    native = np.concatenate(heard.samples).astype(np.float32)
    spoken, ratio = soxr.resample(native, espeak().rate, RATE), RATE / espeak().rate
    starts = [(place, int(sample * ratio)) for place, sample in heard.words if text[:place][-1:] in ("", " ")]
    words = []
    for (place, start), (after, end) in zip(starts, [*starts[1:], (len(text), len(spoken))], strict=True):
        loud = np.flatnonzero(np.abs(spoken[start:end]) > QUIET * np.abs(spoken).max())
        words.append((text[place:after].replace(",", "").strip(), start, start + int(loud[-1]) if len(loud) else end))
    return spoken, tuple(words)


@cache
def flite() -> str:
    """Where flite is."""
    path = shutil.which("flite")
    if path is None:
        raise SystemExit("This recipe needs flite (Debian: apt-get install espeak-ng flite).")
    return path


def by_flite(text: str, voice: Voice) -> NDArray[np.float32]:
    """Speech of flite at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        manner = ("--setf", f"duration_stretch={voice.speed:.3f}", "--setf", f"int_f0_target_mean={voice.pitch:.1f}")
        subprocess.run([flite(), "-voice", voice.name, *manner, "-t", text, "-o", str(path)], check=True)  # noqa: S603
        spoken, rate = soundfile.read(path, dtype="float32")
    return soxr.resample(spoken, rate, RATE)
