"""What the transcribers share: their clips, and their letters."""

from __future__ import annotations

import string

import numpy as np
import soxr
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import ParakeetTokenizer

from models.recipes.speech.phrases import training_phrases
from models.recipes.speech.voices import Clip, espeak_voice, flite_voice, speak

MARK = "▁"


def training_clips(seed: int, by_espeak: int, by_flite: int) -> list[Clip]:
    """Clips of the training voices, a third of them played somewhat too fast or too slow, pitch and all."""
    rng = np.random.default_rng(seed)
    texts = training_phrases(rng, by_espeak + by_flite)
    voices = [espeak_voice(rng) if at < by_espeak else flite_voice(rng) for at in range(len(texts))]
    return [replayed(rng, speak(hesitant(rng, text), voice)) for text, voice in zip(texts, voices, strict=True)]


def hesitant(rng: np.random.Generator, text: str) -> str:
    """The text, now and then with a comma, at which a voice pauses."""
    words = text.split()
    if len(words) > 1 and rng.random() < 0.12:
        words[rng.integers(len(words) - 1)] += ","
    return " ".join(words)


def replayed(rng: np.random.Generator, clip: Clip) -> Clip:
    """The clip at another speed, by chance: a shorter or longer throat."""
    if rng.random() > 1 / 3:
        return clip
    stretch = rng.uniform(0.88, 1.14)
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
