"""Plain statements in pairs: the second follows from the first, is ruled out by it, or neither."""

from __future__ import annotations

import random
from collections.abc import Mapping

from models.recipes.chat.exchanges import is_held_out
from models.recipes.text.words import phrases, sentence


def statement_pair(rng: random.Random, data: Mapping[str, str], held_out: bool) -> tuple[str, str, str]:
    """Premise, hypothesis and label. Who did what with which thing decides whether the pair is held out."""
    while True:
        verb = rng.randrange(8)
        who, other = rng.sample(phrases(data["people"]), 2)
        thing, another = rng.sample(phrases(data["things"]), 2)
        if is_held_out(f"{who} {verb} {thing}", 6) == held_out:
            break
    past, base = phrases(data["verbs"])[verb], phrases(data["bases"])[verb]
    colour, wrong = rng.sample(phrases(data["colours"]), 2)
    place, elsewhere = rng.sample(phrases(data["places"]), 2)
    premise, follows, excluded, open_ = rng.choice(
        (
            (f"{who} {past} a {colour} {thing} in {place}.",
             (f"{who} {past} a {thing}.", f"{who} {past} something in {place}.", f"{who} was in {place}.",
              f"The {thing} was {colour}.", f"A {colour} {thing} was in {place}."),
             (f"{who} did not {base} a {thing}.", f"{who} {past} nothing.", f"The {thing} was {wrong}.",
              f"{who} has never been in {place}.", f"{who} {past} the {thing} in {elsewhere}."),
             (f"{who} has a {another}.", f"{other} {past} a {thing}.", f"The {thing} was expensive.",
              f"{who} likes {elsewhere}.", f"{other} was in {place}.", f"{who} {past} a {another}.")),
            (f"{who} {past} the {thing}, but {other} did not.",
             (f"{who} {past} the {thing}.", f"{other} did not {base} the {thing}."),
             (f"{other} {past} the {thing}.", f"{who} did not {base} the {thing}."),
             (f"{who} {past} the {another}.", f"The {thing} was {colour}.", f"{who} was in {place}.")),
            (f"The {colour} {thing} belongs to {who}.",
             (f"{who} has a {thing}.", f"The {thing} is {colour}.", f"The {thing} belongs to {who}."),
             (f"The {thing} is {wrong}.", f"The {thing} belongs to {other}.", f"{who} has no {thing}."),
             (f"{who} {past} the {thing}.", f"{who} has a {another}.", f"{other} has a {another}.",
              f"The {thing} is in {place}.")),
        )
    )  # fmt: skip
    label = rng.choice(("entailment", "contradiction", "neutral"))
    hypotheses = {"entailment": follows, "contradiction": excluded, "neutral": open_}[label]
    return sentence(premise), sentence(rng.choice(hypotheses)), label
