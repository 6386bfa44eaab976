"""Region: one result of segmentation."""

from dataclasses import dataclass

from services.engine.media.masks import Mask


@dataclass(frozen=True, eq=False)
class Region:
    """One region: a mask at the size of the image, which may be empty."""

    label: int | None
    """Index of its class; None if the model has no classes."""
    score: float | None
    """Confidence in [0, 1]; None if the model gives none."""
    mask: Mask
    prompt: int | None = None
    """Index of its prompt; None without prompts."""
