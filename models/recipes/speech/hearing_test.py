"""Evaluates transcribers: recordings of held-out voices and sentences, and the measures."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.recipes.speech.items import Item
from models.recipes.speech.measures import agreed, utterances, word_error_rate
from models.recipes.speech.phrases import held_out_phrases
from models.recipes.speech.recordings import Recording, begun, in_a_row, without_speech
from models.recipes.speech.sound_field import by_telephone, quantized, with_noise
from models.recipes.speech.voices import RATE, Clip, espeak_voice, flite_voice, speak

SEED = 2031
SETS = ("espeak", "flite", "noise", "telephone", "pauses", "begun", "empty")
STEP = 0.25
"""Seconds of audio between two transcriptions of a growing recording."""
Transcribe = Callable[[NDArray[np.float32]], str]


def draw(count: int) -> list[Item]:
    """Held-out recordings, of every set in turn."""
    return [drawn(np.random.default_rng((SEED, at)), SETS[at % len(SETS)]) for at in range(count)]


def drawn(rng: np.random.Generator, kind: str) -> Item:
    """One recording of a set."""
    if kind == "empty":
        return Item({"set": kind, "text": ""}, without_speech(rng), RATE)
    clips = [unheard(rng, kind) for _ in range(3 if kind == "pauses" else 1)]
    recording = in_a_row(rng, clips, (0.4, 1.2), 0.5)
    if kind == "begun":
        recording = begun(rng, Recording(np.pad(recording.samples, RATE // 10), recording.words))
    samples = recording.samples
    if kind in ("noise", "pauses"):
        samples = with_noise(rng, samples, rng.uniform(10, 25) if kind == "noise" else rng.uniform(25, 45), RATE)
    if kind == "telephone":
        samples = by_telephone(samples, RATE)
    samples = quantized(samples * np.float32(rng.uniform(0.2, 0.8)))
    return Item({"set": kind, "text": recording.text}, samples, RATE)


def unheard(rng: np.random.Generator, kind: str) -> Clip:
    """A held-out text in a held-out voice, of either program unless the set names one."""
    (text,) = held_out_phrases(rng, 1)
    of_flite = kind == "flite" or (kind not in ("espeak", "begun") and rng.random() < 1 / 3)
    return speak(text, flite_voice(rng, held_out=True) if of_flite else espeak_voice(rng, held_out=True))


def figures(transcribe: Transcribe, items: list[Item]) -> dict[str, float]:
    """Word error rates of every set, and what streaming depends on."""
    began, heard = time.perf_counter(), {}
    for at, item in enumerate(items):
        heard[at] = transcribe(item.samples)
    took = time.perf_counter() - began
    of = {kind: [i for i, item in enumerate(items) if item.expected["set"] == kind] for kind in SETS}

    def rate(*kinds: str) -> float:
        return word_error_rate([(items[i].expected["text"], heard[i]) for kind in kinds for i in of[kind]])

    cut = [" ".join(transcribe(part) for part in utterances(items[i].samples, RATE)) for i in of["pauses"]]
    pauses = [(items[i].expected["text"], text) for i, text in zip(of["pauses"], cut, strict=True)]
    grown = [(agreed(growing(transcribe, items[i].samples)), heard[i].split()) for i in of["espeak"] + of["flite"]]
    kept = sum(a == b for stable, whole in grown for a, b in zip(stable, whole, strict=False))
    return {
        "word error rate, unseen espeak voices": rate("espeak"),
        "word error rate, unseen flite voice": rate("flite"),
        "word error rate, noise 10 to 25 dB below": rate("noise"),
        "word error rate, by telephone": rate("telephone"),
        "word error rate, three sentences and pauses": rate("pauses"),
        "the same, cut into utterances": word_error_rate(pauses),
        "word error rate, broken off anywhere": rate("begun"),
        "word error rate, all of these": rate(*SETS[:-1]),
        "words read twice that stayed": kept / max(1, sum(len(stable) for stable, _ in grown)),
        "recordings without speech left empty": float(np.mean([not heard[i] for i in of["empty"]])),
        "real-time factor on one thread": took / sum(len(item.samples) / RATE for item in items),
    }


def growing(transcribe: Transcribe, samples: NDArray[np.float32]) -> list[str]:
    """The transcripts of a recording as it grows."""
    step = int(STEP * RATE)
    return [transcribe(samples[:end]) for end in range(step, len(samples) + step, step)]
