"""Skills and their exchanges (one user message, one answer), and the rule that holds some of them out."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """One user message and the answer to it."""

    user: str
    assistant: str


Draw = Callable[[random.Random], Exchange]


@dataclass(frozen=True)
class Skill:
    """Something the model learns: draws exchanges for training, and held-out ones that training never shows."""

    name: str
    weight: float
    train: Draw
    held_out: Draw


def is_held_out(key: str, one_in: int = 8) -> bool:
    """Whether an operand is held out. Depends only on the operand, so that the split never changes."""
    return zlib.crc32(key.encode()) % one_in == 0


def draw_where(rng: random.Random, draw: Callable[[random.Random], str], held_out: bool) -> str:
    """Draws operands until one lies in the wanted part."""
    while True:
        key = draw(rng)
        if is_held_out(key) == held_out:
            return key


def split_last(phrasings: Sequence[str], count: int = 2) -> tuple[Sequence[str], Sequence[str]]:
    """Splits phrasings: the last few are held out, the others are for training."""
    return phrasings[:-count], phrasings[-count:]


def normalized(text: str) -> str:
    """A message in lower case without punctuation and repeated spaces: equal results count as the same question."""
    kept = "".join(c if c.isalnum() or c in "+-" else " " for c in text.lower())
    return " ".join(kept.split())
