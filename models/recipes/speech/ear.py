"""What the transcribers share: training clips and the character tokenizer."""

from __future__ import annotations

import string
from multiprocessing import get_context

import numpy as np
import soxr
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import ParakeetTokenizer

from models.recipes.speech.phrases import training_phrases
from models.recipes.speech.voices import Clip, espeak_voice, flite_voice, speak

MARK = "▁"


def training_clips(seed: int, by_espeak: int, by_flite: int) -> list[Clip]:
    """Clips of the training voices, spoken on all cores, half of them played too fast or too slow, pitch and all."""
    texts = training_phrases(np.random.default_rng(seed), by_espeak + by_flite)
    jobs = [(seed, at, text, at < by_espeak) for at, text in enumerate(texts)]
    # Forked, so that no process has to import torch anew; each begins its own espeak-ng.
    with get_context("fork").Pool() as pool:
        return pool.starmap(spoken_clip, jobs, chunksize=50)


def spoken_clip(seed: int, at: int, text: str, by_espeak: bool) -> Clip:
    """The clip of one text."""
    rng = np.random.default_rng((seed, at))
    voice = espeak_voice(rng) if by_espeak else flite_voice(rng)
    return replayed(rng, speak(hesitant(rng, text), voice))


def hesitant(rng: np.random.Generator, text: str) -> str:
    """The text, now and then with a comma, at which a voice pauses."""
    words = text.split()
    if len(words) > 1 and rng.random() < 0.12:
        words[rng.integers(len(words) - 1)] += ","
    return " ".join(words)


def replayed(rng: np.random.Generator, clip: Clip) -> Clip:
    """The clip at another speed, by chance: a shorter or longer throat."""
    if rng.random() > 1 / 2:
        return clip
    stretch = rng.uniform(0.84, 1.18)
    words = tuple((text, int(start * stretch), int(end * stretch)) for text, start, end in clip.words)
    return Clip(clip.text, soxr.resample(clip.samples, 1, stretch), words)


def letters() -> ParakeetTokenizer:
    """Letters as tokens, those that begin a word apart; the last token is the blank."""
    pieces = [MARK, *string.ascii_lowercase, *(MARK + letter for letter in string.ascii_lowercase)]
    merges = [(MARK, letter) for letter in string.ascii_lowercase]
    inner = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")
    inner.decoder = decoders.Metaspace(replacement=MARK, prepend_scheme="always")
    inner.add_special_tokens([AddedToken("<pad>", special=True)])
    return ParakeetTokenizer(tokenizer_object=inner, pad_token="<pad>")  # noqa: S106
