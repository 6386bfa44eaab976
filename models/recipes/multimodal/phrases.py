"""The ways to ask, read from `questions.toml`; every fifth is held out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from models.recipes.text.words import split

WAYS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("questions.toml").read_text(encoding="utf-8"))


def pick(rng: np.random.Generator, choices: list[str] | tuple[str, ...]) -> str:
    """One of the choices."""
    return choices[rng.integers(len(choices))]


def phrase(rng: np.random.Generator, name: str, held_out: bool) -> str:
    """A way to ask, of those of training or of those held out."""
    return pick(rng, split(WAYS[name])[held_out])


def as_typed(rng: np.random.Generator, text: str) -> str:
    """The text, now and then in the words and letters of somebody else."""
    for one, other in (("figure", "shape"), ("picture", "image"), ("colour", "color")):
        if rng.random() < 0.2:
            text = text.replace(one, other)
    if rng.random() < 0.15:
        text = text.lower()
    if rng.random() < 0.15:
        text = text.rstrip("?.")
    return text
