"""Skills learnt by heart, from one word or name to one answer."""

from __future__ import annotations

import random

from models.recipes.chat.exchanges import Exchange, Skill, split_last
from models.recipes.chat.typing_habits import as_typed


def table_skill(name: str, weight: float, phrasings: tuple[str, ...], table: dict[str, str]) -> Skill:
    """A skill with a closed list of answers; held out are phrasings."""
    seen, unseen = split_last(phrasings)

    def draw_part(rng: random.Random, held_out: bool) -> Exchange:
        word = rng.choice(list(table))
        user = rng.choice(unseen if held_out else seen).format(w=word)
        return Exchange(user if held_out else as_typed(rng, user), table[word])

    return Skill(name, weight, lambda rng: draw_part(rng, False), lambda rng: draw_part(rng, True))
