"""What segmentation finds."""

from dataclasses import dataclass

from services.engine.media.masks import Mask


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels that belong together. The mask may be empty."""

    label: int | None
    """Index of its class; None if it has none."""
    score: float | None
    """Confidence in [0, 1]; None if there is none."""
    mask: Mask
    prompt: int | None = None
    """Number of the prompt it answers."""
