"""What a skill yields: exchanges of one user message and one answer, and the rule that keeps some of them unseen."""

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
    """Something the model learns to do: how to draw an exchange for training, and how to draw one it never sees."""

    name: str
    weight: float
    train: Draw
    held_out: Draw


def is_held_out(key: str, one_in: int = 8) -> bool:
    """Whether an operand belongs to the held-out part; depends on the operand alone, so that it never changes."""
    return zlib.crc32(key.encode()) % one_in == 0


def draw_where(rng: random.Random, draw: Callable[[random.Random], str], held_out: bool) -> str:
    """Draws until the operand lies in the wanted part."""
    while True:
        key = draw(rng)
        if is_held_out(key) == held_out:
            return key


def split_last(phrasings: Sequence[str], count: int = 2) -> tuple[Sequence[str], Sequence[str]]:
    """Splits phrasings into those for training and the last few, which are held out."""
    return phrasings[:-count], phrasings[-count:]


def normalized(text: str) -> str:
    """A message without case, punctuation and doubled spaces: what counts as the same question."""
    kept = "".join(c if c.isalnum() or c in "+-" else " " for c in text.lower())
    return " ".join(kept.split())
