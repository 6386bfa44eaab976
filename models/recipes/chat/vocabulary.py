"""Words the skills work with."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

LISTS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
}
NAMES = LISTS["names"]
COLOURS = LISTS["colours"]

OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "up": "down", "left": "right", "open": "closed", "day": "night",
    "light": "dark", "good": "bad", "happy": "sad", "young": "old", "rich": "poor", "hard": "soft", "high": "low",
    "wet": "dry", "full": "empty", "early": "late", "strong": "weak", "thick": "thin", "true": "false",
    "wide": "narrow", "long": "short", "loud": "quiet", "clean": "dirty", "cheap": "expensive", "near": "far",
    "first": "last", "inside": "outside", "begin": "end", "win": "lose", "love": "hate", "buy": "sell",
    "give": "take", "push": "pull", "question": "answer", "friend": "enemy", "summer": "winter", "north": "south",
    "east": "west", "black": "white", "yes": "no", "always": "never", "many": "few", "deep": "shallow",
    "smooth": "rough", "sweet": "sour", "easy": "difficult", "alive": "dead", "remember": "forget", "above": "below",
    "before": "after", "laugh": "cry", "on": "off", "safe": "dangerous", "same": "different", "sharp": "blunt",
}  # fmt: skip


def invented_word(rng: random.Random) -> str:
    """A word that could exist but mostly does not: from one to three syllables."""
    word = ""
    for _ in range(rng.choice((1, 2, 2, 3))):
        word += rng.choice(LISTS["starts"]) + rng.choice(LISTS["middles"])
    if rng.random() < 0.75 or len(word) < 4:
        word += rng.choice(LISTS["ends"])
    return word
