"""Small talk: greetings, thanks, farewells, moods, and what the model says about itself."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

from models.recipes.chat.exchanges import Exchange, Skill, split_last
from models.recipes.chat.typing_habits import as_typed

TALK: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(entry["says"]), " ".join(entry["answer"].split()))
    for entry in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["talk"]
)


def small_talk(rng: random.Random, held_out: bool) -> Exchange:
    """One remark and the reply; held out are the last ways to say each."""
    phrasings, answer = rng.choice(TALK)
    user = rng.choice(split_last(phrasings)[1 if held_out else 0])
    if held_out:
        return Exchange(user, answer)
    user = as_typed(rng, user)
    return Exchange(user + "." if user[-1].isalpha() and rng.random() < 0.35 else user, answer)


def small_talk_skill(weight: float) -> Skill:
    """The skill of small talk."""
    return Skill("small talk", weight, lambda rng: small_talk(rng, False), lambda rng: small_talk(rng, True))
