"""Labels with scores, free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelScore:
    """One label with the confidence in it."""

    label: str
    score: float
    index: int
    """The label's index in its list."""


def ranked(labels: Sequence[str], scores: Sequence[float], most: int | None = None) -> list[LabelScore]:
    """Returns the labels by score, the highest first, at most so many; equal scores keep the order of the labels."""
    found = [LabelScore(label, score, i) for i, (label, score) in enumerate(zip(labels, scores, strict=True))]
    return sorted(found, key=lambda each: -each.score)[:most]
