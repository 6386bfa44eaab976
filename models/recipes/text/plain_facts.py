"""Sentences that state plain facts: capitals, opposites, colours, animals, numbers, days and months."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from models.recipes.chat.dates import DAYS, MONTHS
from models.recipes.chat.facts import CAPITAL_OF, COLOUR, SOUND, YOUNG
from models.recipes.chat.vocabulary import OPPOSITES
from models.recipes.text.disguise import disguised
from models.recipes.text.words import read_data, sentence

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
Fact = tuple[str, str]
"""A sentence, and the word in it that the others determine."""
Draw = Callable[[random.Random, bool], Fact]

PHRASINGS = read_data("facts")


def phrasing(rng: random.Random, phrasings: Sequence[str], held_out: bool) -> str:
    """One of the last two ways to say it; or, for training, one of the others, at times with some words changed."""
    return rng.choice(phrasings[-2:]) if held_out else disguised(rng, rng.choice(phrasings[:-2]))


def table(phrasings: Sequence[str], facts: Mapping[str, str]) -> Draw:
    """Draws from a closed list of facts; only the phrasing is ever held out."""

    def draw(rng: random.Random, held_out: bool) -> Fact:
        key = rng.choice(list(facts))
        template = phrasing(rng, phrasings, held_out)
        return sentence(template.format(a=key, b=facts[key])), facts[key]

    return draw


def draw_animal(rng: random.Random, held_out: bool) -> Fact:
    """A young animal or the sound of one."""
    return rng.choice((table(PHRASINGS["young"], YOUNG), table(PHRASINGS["sounds"], SOUND)))(rng, held_out)


def draw_sum(rng: random.Random, held_out: bool) -> Fact:
    """Two numbers up to ten and their sum."""
    one, other = rng.randrange(1, 11), rng.randrange(1, 11)
    template = phrasing(rng, PHRASINGS["sums"], held_out)
    return sentence(template.format(a=NUMBERS[one], c=NUMBERS[other], b=NUMBERS[one + other])), NUMBERS[one + other]


def following(words: Sequence[str]) -> dict[str, str]:
    """Each word with the one behind it, round and round."""
    return {word: words[(at + 1) % len(words)] for at, word in enumerate(words)}


SINGLE_CAPITALS = {country: city for country, city in CAPITAL_OF.items() if city.isalpha() and city != country}
ORDER = following(DAYS) | following(MONTHS) | dict(pairwise(NUMBERS))
FACTS: dict[str, Draw] = {
    "capitals": table(PHRASINGS["capitals"], SINGLE_CAPITALS),
    "opposites": table(PHRASINGS["opposites"], OPPOSITES | {b: a for a, b in OPPOSITES.items()}),
    "colours": table(PHRASINGS["colours"], COLOUR),
    "animals": draw_animal,
    "sums": draw_sum,
    "days, months and numbers in order": table(PHRASINGS["order"], ORDER),
}
KINDS = list(FACTS)
