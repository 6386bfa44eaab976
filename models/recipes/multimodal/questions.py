"""Questions about one picture, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.recipes.multimodal.board import PLACES, Picture, Piece, Trait, any_trait, narrowed
from models.recipes.multimodal.phrases import phrase, pick

SIDES: dict[str, Callable[[Piece, Piece], bool]] = {
    "left of": lambda one, other: one.column < other.column,
    "to the left of": lambda one, other: one.column < other.column,
    "right of": lambda one, other: one.column > other.column,
    "to the right of": lambda one, other: one.column > other.column,
    "above": lambda one, other: one.row < other.row,
    "below": lambda one, other: one.row > other.row,
}
"""Whether one figure stands on that side of the other, wherever else it stands."""
ABSENT = 0.12
"""How often something is asked of a figure that is not there."""


@dataclass(frozen=True)
class Asked:
    """A question of some kind and its answer."""

    kind: str
    question: str
    answer: str


def described(picture: Picture) -> str:
    """The caption."""
    if picture.digit is not None:
        return f"a handwritten {picture.digit}"
    told = [f"a {p.size} {p.colour} {p.kind} {PLACES[p.place]}" for p in picture.pieces]
    if not told:
        return "an empty picture"
    return " and ".join([*([", ".join(told[:-1])] if told[1:] else []), told[-1]])


def fitting(rng: np.random.Generator, picture: Picture, hidden: str = "") -> Trait | None:
    """A trait that exactly one figure has; `hidden` is what it must not tell."""
    for _ in range(8 if picture.pieces else 0):
        trait = narrowed(rng, picture.pieces[rng.integers(len(picture.pieces))]).hiding(hidden)
        if len(trait.of(picture)) == 1:
            return trait
    return None


def lacking(rng: np.random.Generator, picture: Picture, hidden: str = "") -> Trait:
    """A trait that no figure has; half of the time each part of it is found on some figure."""
    for _ in range(6 if len(picture.pieces) > 1 and rng.random() < 0.6 else 0):
        first, second = (picture.pieces[i] for i in rng.permutation(len(picture.pieces))[:2])
        trait = narrowed(rng, Piece(first.size, first.colour, second.kind, 0)).hiding(hidden)
        if not trait.of(picture):
            return trait
    while (trait := any_trait(rng).hiding(hidden)).of(picture):
        pass
    return trait


Slots = tuple[dict[str, str], str] | None
"""The words of a question and its answer; nothing where the picture does not let one ask."""
Ask = Callable[[np.random.Generator, Picture], Slots]


def asker(tell: Callable[[Piece], str], hidden: str = "") -> Ask:
    """Asks something about the one figure of a trait, or about one that is not there."""

    def ask(rng: np.random.Generator, picture: Picture) -> Slots:
        is_absent = not picture.pieces or rng.random() < ABSENT
        trait = lacking(rng, picture, hidden) if is_absent else fitting(rng, picture, hidden)
        if trait is None:
            return None
        found = trait.of(picture)
        return {"thing": trait.one()}, tell(found[0]) if found else f"there is no {trait.one()}"

    return ask


def ask_count(rng: np.random.Generator, picture: Picture) -> Slots:
    """How many figures have a trait."""
    is_there = picture.pieces and rng.random() < 0.75
    trait = narrowed(rng, picture.pieces[rng.integers(len(picture.pieces))]) if is_there else any_trait(rng)
    return {"things": trait.many()}, str(len(trait.of(picture)))


def ask_exists(rng: np.random.Generator, picture: Picture) -> Slots:
    """Whether a figure of a trait, or a digit, is there."""
    if rng.random() < (0.4 if picture.digit is not None else 0.08):
        return {"a": "a digit"}, "yes" if picture.digit is not None else "no"
    is_there = picture.pieces and rng.random() < 0.5
    trait = narrowed(rng, picture.pieces[rng.integers(len(picture.pieces))]) if is_there else lacking(rng, picture)
    return {"a": f"a {trait.one()}"}, "yes" if is_there else "no"


def ask_at(rng: np.random.Generator, picture: Picture) -> Slots:
    """Which figure stands somewhere."""
    if picture.pieces and rng.random() < 0.75:
        piece = picture.pieces[rng.integers(len(picture.pieces))]
        return {"place": PLACES[piece.place]}, f"a {piece.size} {piece.colour} {piece.kind}"
    free = [i for i in range(9) if i not in {p.place for p in picture.pieces}]
    return None if picture.digit is not None else ({"place": PLACES[free[rng.integers(len(free))]]}, "nothing")


def ask_beside(rng: np.random.Generator, picture: Picture) -> Slots:
    """The only figure on one side of another, or none."""
    trait = fitting(rng, picture)
    if trait is None:
        return None
    side = pick(rng, tuple(SIDES))
    (middle,) = trait.of(picture)
    found = [piece for piece in picture.pieces if SIDES[side](piece, middle)]
    if len(found) > 1 or (not found and rng.random() < 0.5):
        return None
    return {"side": side, "thing": trait.one()}, f"a {found[0].colour} {found[0].kind}" if found else "nothing"


def ask_relation(rng: np.random.Generator, picture: Picture) -> Slots:
    """Whether one figure stands on a side of another."""
    one, other = fitting(rng, picture), fitting(rng, picture)
    if one is None or other is None or one.of(picture) == other.of(picture):
        return None
    side = pick(rng, tuple(SIDES))
    is_so = SIDES[side](one.of(picture)[0], other.of(picture)[0])
    if not is_so and rng.random() < 0.4:
        return None
    return {"side": side, "thing": one.one(), "other": other.one()}, "yes" if is_so else "no"


ASKS: dict[str, tuple[float, Ask]] = {
    "caption": (2.5, lambda _, picture: ({}, described(picture))),
    "count_all": (0.8, lambda _, picture: ({}, str(len(picture.pieces)))),
    "count": (1.7, ask_count),
    "colour": (1.2, asker(lambda piece: piece.colour, hidden="colour")),
    "kind": (1.0, asker(lambda piece: f"a {piece.kind}", hidden="kind")),
    "size": (0.8, asker(lambda piece: piece.size, hidden="size")),
    "where": (1.2, asker(lambda piece: PLACES[piece.place])),
    "exists": (1.7, ask_exists),
    "at": (1.0, ask_at),
    "beside": (2.0, ask_beside),
    "relation": (1.5, ask_relation),
    "digit": (0.3, lambda _, picture: ({}, "there is no digit" if picture.digit is None else str(picture.digit))),
}
"""What may be asked, and how often."""
OF_DIGITS = {"caption": 2.0, "digit": 6.0, "exists": 1.0, "count": 0.4, "count_all": 0.2, "colour": 0.2, "where": 0.1}


def attempt(rng: np.random.Generator, picture: Picture, kind: str, held_out: bool, tries: int = 1) -> Asked | None:
    """A question of a kind; none where the picture does not let one ask."""
    for _ in range(tries):
        slots = ASKS[kind][1](rng, picture)
        if slots is not None:
            return Asked(kind, phrase(rng, kind, held_out).format(**slots[0]), slots[1])
    return None


def ask(rng: np.random.Generator, picture: Picture, held_out: bool) -> Asked:
    """A question about the picture, put in a way of training or in one held out."""
    shares = {k: share for k, (share, _) in ASKS.items()} if picture.digit is None else OF_DIGITS
    weights = np.array(list(shares.values()))
    while True:
        asked = attempt(rng, picture, list(shares)[rng.choice(len(shares), p=weights / weights.sum())], held_out)
        if asked is not None:
            return asked
