"""Timed words of frame models. Free of torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_PAUSE_SECONDS = 1.0
"""A pause between words that begins a new segment."""


@dataclass(frozen=True)
class TimedWord:
    """A word with its start and end, in seconds from the recording's beginning."""

    text: str
    start: float
    end: float
    log_probability: float
    """Mean over its tokens."""
    token_count: int

    @property
    def confidence(self) -> float:
        """Geometric mean of its tokens' probabilities."""
        return math.exp(self.log_probability)


def confidence(words: Sequence[TimedWord]) -> float | None:
    """Returns the geometric mean of the probabilities of all tokens of `words`; None without tokens."""
    tokens = sum(word.token_count for word in words)
    if not tokens:
        return None
    return math.exp(math.fsum(word.log_probability * word.token_count for word in words) / tokens)


def stretches(words: Sequence[TimedWord]) -> list[list[TimedWord]]:
    """Groups words into segments, split at pauses."""
    found: list[list[TimedWord]] = []
    for word in words:
        if found and word.start - found[-1][-1].end < _PAUSE_SECONDS:
            found[-1].append(word)
        else:
            found.append([word])
    return found
