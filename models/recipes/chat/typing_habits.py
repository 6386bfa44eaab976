"""Augments messages the way people type: no capitals, no question mark, a greeting first, a typing error."""

from __future__ import annotations

import random

OPENINGS = ("Hi, ", "Hello, ", "Hey, ", "OK, ", "Please, ", "Now ", "So, ", "Well, ", "And ", "Hi! ", "Tell me: ")
CLOSINGS = (" Thanks.", " Thank you.", " Please.", " please")


def as_typed(rng: random.Random, text: str) -> str:
    """Returns the message the way a person might type it. The words that matter stay."""
    if rng.random() < 0.08:
        text = rng.choice(OPENINGS) + text[0].lower() + text[1:]
    if rng.random() < 0.05:
        text += rng.choice(CLOSINGS)
    if rng.random() < 0.22:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip(".?!")
    if rng.random() < 0.03:
        text = text.replace("?", "??") if rng.random() < 0.5 else text.rstrip(".") + "!"
    return text


def with_slip(rng: random.Random, text: str) -> str:
    """Returns the message with two neighbouring letters swapped, or one left out."""
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    at = rng.choice(places)
    if rng.random() < 0.5:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at + 1 :]
