"""The texts of the speech models: English commands, questions and numbers."""

from __future__ import annotations

import re
import tomllib
import zlib
from pathlib import Path

import numpy as np

WORDS = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))
TEMPLATES, LISTS = WORDS["templates"], WORDS["lists"]
ONES, TENS = WORDS["numbers"]["ones"], WORDS["numbers"]["tens"]
FREE = 0.2
"""Share of training texts that are words in any order, so that none is heard only where a template has it."""
LEAST = 4
"""Texts of so many words are either trained on or held out; shorter ones are too few to part."""


def number(n: int) -> str:
    """A number below a thousand in words."""
    if n < len(ONES):
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f" {ONES[n % 10]}" if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" {number(n % 100)}" if n % 100 else "")


VOCABULARY = tuple(sorted(
    {word for options in LISTS.values() for option in options for word in option.split()}
    | set(re.sub(r"\{\w+\}", " ", " ".join(TEMPLATES)).split()) | {*ONES, *TENS, "hundred"}
))  # fmt: skip


def phrase(rng: np.random.Generator) -> str:
    """A text by one of the templates."""
    return re.sub(r"\{(\w+)\}", lambda slot: filling(rng, slot[1]), TEMPLATES[rng.integers(len(TEMPLATES))])


def filling(rng: np.random.Generator, slot: str) -> str:
    """What a slot of a template may hold; small numbers more often than large ones."""
    if slot == "n":
        return number(int(rng.integers((20, 100, 1000)[rng.choice(3, p=(0.35, 0.5, 0.15))])))
    options = LISTS[slot]
    return options[rng.integers(len(options))]


def free_phrase(rng: np.random.Generator) -> str:
    """One to six words of the vocabulary in any order."""
    return " ".join(VOCABULARY[i] for i in rng.integers(len(VOCABULARY), size=rng.integers(1, 7)))


def is_held_out(text: str) -> bool:
    """Whether a text is kept from training: an eighth of those of at least four words."""
    return len(text.split()) >= LEAST and zlib.crc32(text.encode()) % 8 == 0


def training_phrases(rng: np.random.Generator, count: int) -> list[str]:
    """Texts to learn from."""
    texts: list[str] = []
    while len(texts) < count:
        text = free_phrase(rng) if rng.random() < FREE else phrase(rng)
        texts += [] if is_held_out(text) else [text]
    return texts


def held_out_phrases(rng: np.random.Generator, count: int) -> list[str]:
    """Texts by the templates that training never has, and short ones, which it may have."""
    texts: list[str] = []
    while len(texts) < count:
        text = phrase(rng)
        texts += [text] if is_held_out(text) or len(text.split()) < LEAST else []
    return texts
