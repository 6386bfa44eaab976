"""Captions of figures and digits in different phrasings, and their tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from models.recipes.vision.digit_images import WORDS
from models.recipes.vision.drawing import COLOURS, KINDS

PAIRS = tuple(f"{colour} {kind}" for colour in COLOURS for kind in KINDS)
TEMPLATES = (
    "{}", "a {}", "{}", "a {}", "This is a photo of {}.", "This is a photo of a {}.", "a photo of a {}",
    "an image of {}", "a picture of a {}", "a drawing of a {}", "this is a {}", "the {}", "This example is {}.",
    "there is a {} here",
)  # fmt: skip
DIGIT_TEMPLATES = ("the digit {}", "digit {}", "the number {}", "number {}", "{}", "a handwritten {}")
COLOUR_TEMPLATES = ("{}", "something {}", "a {} shape", "a {} thing", "{} shape", "a {} figure", "{} object")
MARK = "</w>"
LONGEST = 32


def varied(rng: np.random.Generator, statement: str) -> str:
    """The statement in one of the ways one may say it."""
    if statement.startswith("digit "):
        word = statement.removeprefix("digit ")
        written = str(WORDS.index(word)) if rng.random() < 0.4 else word
        statement = pick(rng, DIGIT_TEMPLATES).format(written)
    elif statement in COLOURS:
        statement = pick(rng, COLOUR_TEMPLATES).format(statement)
    return pick(rng, TEMPLATES).format(statement).replace("a a ", "a ").replace("a the ", "the ")


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """One of the choices."""
    return choices[rng.integers(len(choices))]


def all_captions(labels: Iterable[str]) -> list[str]:
    """The different labels in order, each as one asks for an image."""
    return [f"a photo of a {label}" for label in sorted(set(labels))]


def new_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with the words of the captions as tokens, and all bytes, so that any text is read."""
    said = [t.format(s) for t in (*TEMPLATES, *DIGIT_TEMPLATES, *COLOUR_TEMPLATES)
            for s in (*COLOURS, *KINDS, *WORDS, *"0123456789", "digit")]  # fmt: skip
    draft = Tokenizer(models.BPE(end_of_word_suffix=MARK))
    draft.normalizer = normalizers.Lowercase()
    draft.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(r" ", "removed"), pre_tokenizers.Punctuation(),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    draft.train_from_iterator(said, trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix=MARK, show_progress=False))
    merges = [tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in merges_of(draft)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + MARK for letter in letters), *("".join(pair) for pair in merges)]
    # The end of a text has the highest number: OWL-ViT finds it so. Number 0 begins no text: there it marks padding.
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LONGEST)


def merges_of(draft: Tokenizer) -> list:
    """The merges a trained tokenizer learnt."""
    return json.loads(draft.to_str())["model"]["merges"]
