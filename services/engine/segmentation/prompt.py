"""What points at a region, free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """Points at one region, in pixels of the image."""

    points: Sequence[tuple[float, float]] = ()
    inside: Sequence[bool] = ()
    """Whether the region holds the point; one for each."""
    box: tuple[float, float, float, float] | None = None
    """Left, upper, right and lower edge."""
