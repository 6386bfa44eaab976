"""Reads the word lists and sentences of a recipe."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"


def read_data(name: str) -> dict[str, Any]:
    """The tables of `data/<name>.toml`."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def phrases(text: str) -> list[str]:
    """The comma-separated phrases of a text, without doubles."""
    return list(dict.fromkeys(" ".join(part.split()) for part in text.split(",") if part.strip()))


def split(words: Sequence[str], one_in: int = 5) -> tuple[list[str], list[str]]:
    """The words of training, and those held out: the last of every so many."""
    held_out = list(words[one_in - 1 :: one_in])
    return [word for word in words if word not in held_out], held_out


def sentence(text: str) -> str:
    """The text with its first letter made large and `a` before a vowel made `an`."""
    words = text.split()
    for at, word in enumerate(words[:-1]):
        if word in {"a", "A"} and words[at + 1][0] in "aeiou":
            words[at] += "n"
    joined = " ".join(words)
    return joined[:1].upper() + joined[1:]


def fill(rng: random.Random, template: str, slots: dict[str, Sequence[str]]) -> str:
    """The template with a random word in every slot; a slot such as `n2` draws another word of `n`."""
    chosen: dict[str, str] = {}
    for slot in slots:
        first, second = rng.sample(list(slots[slot]), 2) if len(slots[slot]) > 1 else (slots[slot][0],) * 2
        chosen[slot], chosen[f"{slot}2"] = first, second
    return sentence(template.format(**chosen))
