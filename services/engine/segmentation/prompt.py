"""The prompt for one region, free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """Marks one region with points or a box, in pixels of the image as it was sent."""

    points: Sequence[tuple[float, float]] = ()
    inside: Sequence[bool] = ()
    """For each point, whether it lies inside the region."""
    box: tuple[float, float, float, float] | None = None
    """`(x_min, y_min, x_max, y_max)`."""
