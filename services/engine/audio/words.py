"""Words with their times, whatever model wrote them. Free of torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_PAUSE_SECONDS = 1.0
"""Silence between two words that parts two stretches."""


@dataclass(frozen=True)
class TimedWord:
    """A word and when it was said, in seconds from the start."""

    text: str
    start: float
    end: float
    log_probability: float
    """The mean over its tokens."""
    token_count: int

    @property
    def confidence(self) -> float:
        """The geometric mean of its tokens' probabilities."""
        return math.exp(self.log_probability)


def confidence(words: Sequence[TimedWord]) -> float | None:
    """Returns the geometric mean of the probabilities of all tokens of some words; None where there are none."""
    tokens = sum(word.token_count for word in words)
    if not tokens:
        return None
    return math.exp(math.fsum(word.log_probability * word.token_count for word in words) / tokens)


def stretches(words: Sequence[TimedWord]) -> list[list[TimedWord]]:
    """Returns the words parted where nobody speaks for a while."""
    found: list[list[TimedWord]] = []
    for word in words:
        if found and word.start - found[-1][-1].end < _PAUSE_SECONDS:
            found[-1].append(word)
        else:
            found.append([word])
    return found
