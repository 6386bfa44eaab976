"""Skills with single words: spelling, capital letters, plurals, opposites."""

from __future__ import annotations

import random
from collections.abc import Callable

from models.recipes.chat.exchanges import Exchange, Skill, draw_where, split_last
from models.recipes.chat.typing_habits import as_typed
from models.recipes.chat.vocabulary import IRREGULAR_PLURALS, NOUNS, OPPOSITES, invented_word

SPELL = (
    "Spell {w}.", "Spell the word {w}.", "How do you spell {w}?", "How is {w} spelled?", "Please spell {w}.",
    "Can you spell {w}?", "spell {w}", 'Spell "{w}".', 'How do you spell "{w}"?', "What are the letters of {w}?",
    "I need the spelling of {w}.", "Could you spell {w} for me?",
)  # fmt: skip
CAPITALS = (
    "Write {w} in capital letters.", "Write {w} in capitals.", "Make {w} upper case.", "uppercase {w}",
    "Put {w} in capital letters.", "Turn {w} into capital letters.", 'Write "{w}" in upper case.', "Capitalize {w}.",
    "Show me {w} in upper case letters.", "How does {w} look in capitals?", "Please write {w} in capital letters.",
)  # fmt: skip
PLURAL = (
    "What is the plural of {w}?", "Plural of {w}", "Give me the plural of {w}.", "One {w}, two what?",
    "What do you call more than one {w}?", "How do you say {w} in the plural?", 'What is the plural of "{w}"?',
    "Tell me the plural of {w}.", "Form the plural of {w}.", "the plural of {w}?", "What is the plural form of {w}?",
    "Do you know the plural of {w}?",
)  # fmt: skip
OPPOSITE = (
    "What is the opposite of {w}?", "Opposite of {w}", "Give me the opposite of {w}.", "What is not {w}?",
    "Tell me the opposite of {w}.", 'What is the opposite of "{w}"?', "Which word means the opposite of {w}?",
    "the opposite of {w}?", "Name the opposite of {w}.", "Find the opposite of {w}.",
    "What would be the opposite of {w}?",
    "Do you know the opposite of {w}?",
)  # fmt: skip


def spell(word: str) -> str:
    """The letters of a word."""
    return f"{word} is spelled {'-'.join(word)}."


def capitals(word: str) -> str:
    """The word in capital letters."""
    return word.upper()


def plural(word: str) -> str:
    """The plural of a noun."""
    if word in IRREGULAR_PLURALS:
        many = IRREGULAR_PLURALS[word]
    elif word.endswith(("s", "x", "ch", "sh", "z")):
        many = word + "es"
    elif word.endswith("y") and word[-2] not in "aeiou":
        many = word[:-1] + "ies"
    else:
        many = word + "s"
    return f"The plural of {word} is {many}."


def a_noun(rng: random.Random) -> str:
    """A noun of the vocabulary."""
    return rng.choice(NOUNS)


def word_skill(name: str, weight: float, phrasings: tuple[str, ...], answer: Callable[[str], str]) -> Skill:
    """A skill measured on nouns that training never shows. Training also sees invented words, to learn the rule."""
    seen, unseen = split_last(phrasings)

    def draw_part(rng: random.Random, held_out: bool) -> Exchange:
        if not held_out and rng.random() < 0.45:
            word = draw_where(rng, invented_word, False)
        else:
            word = draw_where(rng, a_noun, held_out)
        user = rng.choice(unseen if held_out and rng.random() < 0.5 else seen).format(w=word)
        return Exchange(user if held_out else as_typed(rng, user), answer(word))

    return Skill(name, weight, lambda rng: draw_part(rng, False), lambda rng: draw_part(rng, True))


def table_skill(name: str, weight: float, phrasings: tuple[str, ...], table: dict[str, str]) -> Skill:
    """A skill learnt by heart, from words to answers; held out are phrasings."""
    seen, unseen = split_last(phrasings)

    def draw_part(rng: random.Random, held_out: bool) -> Exchange:
        word = rng.choice(list(table))
        user = rng.choice(unseen if held_out else seen).format(w=word)
        return Exchange(user if held_out else as_typed(rng, user), table[word])

    return Skill(name, weight, lambda rng: draw_part(rng, False), lambda rng: draw_part(rng, True))


def word_skills() -> list[Skill]:
    """All skills with single words."""
    both = OPPOSITES | {b: a for a, b in OPPOSITES.items()}
    return [
        word_skill("spelling", 1.8, SPELL, spell),
        word_skill("capital letters", 1.3, CAPITALS, capitals),
        word_skill("plurals, unseen nouns", 1.2, PLURAL, plural),
        table_skill("plurals, irregular", 0.4, PLURAL, {w: plural(w) for w in IRREGULAR_PLURALS}),
        table_skill("opposites", 0.9, OPPOSITE, {a: f"The opposite of {a} is {b}." for a, b in both.items()}),
    ]
