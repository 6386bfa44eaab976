"""Augments texts by replacing irrelevant words, so that a model learns to ignore them."""

from __future__ import annotations

import random
import re

from models.recipes.chat.vocabulary import invented_word
from models.recipes.text.questions import SENTENCES

SMALL_WORD = re.compile(r"\b[a-z]{3,}\b")
ORDINARY = [s for sentences in SENTENCES for s in sentences if len(s) < 120 and not re.search("[A-Z]", s[1:])]
"""Sentences of the chat model's topics in which nothing is named."""
ORDINARY_WORDS = sorted({word for s in ORDINARY for word in SMALL_WORD.findall(s)})


def disguised(rng: random.Random, text: str, invented_only: bool = False) -> str:
    """The text; or, every other time, with half of its words in small letters changed for others, known or invented."""
    if rng.random() < 0.5:
        return text

    def other(word: re.Match[str]) -> str:
        if rng.random() < 0.5:
            return word[0]
        return invented_word(rng) if invented_only or rng.random() < 0.5 else rng.choice(ORDINARY_WORDS)

    return SMALL_WORD.sub(other, text)
