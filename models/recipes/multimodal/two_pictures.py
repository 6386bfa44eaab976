"""Questions about two pictures, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.recipes.multimodal.board import Picture, Trait, any_trait, narrowed
from models.recipes.multimodal.phrases import phrase
from models.recipes.multimodal.questions import Asked, Slots, ask

ORDINALS = ("first", "second")
COMPARED = 0.55
"""How often the two are compared, and not one of them asked about."""


def any_trait_of(rng: np.random.Generator, pictures: Sequence[Picture]) -> Trait:
    """A trait of some figure of the pictures, or of none."""
    pieces = [piece for picture in pictures for piece in picture.pieces]
    return narrowed(rng, pieces[rng.integers(len(pieces))]) if pieces and rng.random() < 0.85 else any_trait(rng)


def ask_more(rng: np.random.Generator, pictures: Sequence[Picture]) -> Slots:
    """Which picture has more figures of a trait, or more figures."""
    trait = Trait() if rng.random() < 0.2 else any_trait_of(rng, pictures)
    first, second = (len(trait.of(picture)) for picture in pictures)
    answer = "both have equally many" if first == second else f"the {ORDINALS[second > first]}"
    return {"things": trait.many()}, answer


def ask_which(rng: np.random.Generator, pictures: Sequence[Picture]) -> Slots:
    """Which picture shows a figure of a trait."""
    trait = any_trait_of(rng, pictures)
    first, second = (bool(trait.of(picture)) for picture in pictures)
    answer = ("both" if first else "neither") if first == second else f"the {ORDINALS[second]}"
    return {"a": f"a {trait.one()}"}, answer


def ask_larger(_: np.random.Generator, pictures: Sequence[Picture]) -> Slots:
    """Which of two digits is larger."""
    first, second = (picture.digit for picture in pictures)
    if first is None or second is None:
        return None
    return {}, "they are the same" if first == second else f"the {ORDINALS[second > first]}"


def ask_same(_: np.random.Generator, pictures: Sequence[Picture]) -> Slots:
    """Whether two digits are the same."""
    first, second = (picture.digit for picture in pictures)
    return None if first is None or second is None else ({}, "yes" if first == second else "no")


COMPARISONS: dict[str, Callable[[np.random.Generator, Sequence[Picture]], Slots]] = {
    "more": ask_more, "which": ask_which, "larger": ask_larger, "same": ask_same,
}  # fmt: skip


def compare(rng: np.random.Generator, pictures: Sequence[Picture], held_out: bool, only: tuple[str, ...] = ()) -> Asked:
    """A question that compares the pictures."""
    digits = all(picture.digit is not None for picture in pictures)
    kinds = [k for k in COMPARISONS if (k in only if only else digits == (k in ("larger", "same")))]
    while True:
        kind = kinds[rng.integers(len(kinds))]
        slots = COMPARISONS[kind](rng, pictures)
        if slots is not None:
            return Asked(kind, phrase(rng, kind, held_out).format(**slots[0]), slots[1])


def ask_of_one(rng: np.random.Generator, pictures: Sequence[Picture], held_out: bool) -> Asked:
    """A question about one of the pictures, by its place among them."""
    at = int(rng.integers(len(pictures)))
    asked = ask(rng, pictures[at], held_out)
    question = phrase(rng, "of_one", held_out).format(question=asked.question, ordinal=ORDINALS[at])
    return Asked("one of two", question, asked.answer)


def ask_about_two(rng: np.random.Generator, pictures: Sequence[Picture], held_out: bool) -> Asked:
    """A question that compares the pictures, or asks about one of them."""
    return compare(rng, pictures, held_out) if rng.random() < COMPARED else ask_of_one(rng, pictures, held_out)
