"""Measures of segmentation: panoptic quality, and precision and recall of instances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.recipes.vision.drawing import Mask
from models.recipes.vision.measures import SAME, mask_overlap


@dataclass(frozen=True)
class Segment:
    """A label and the pixels that bear it."""

    label: str
    mask: Mask
    score: float = 1.0


def agreeing(found: list[Segment], wanted: list[Segment]) -> list[tuple[str, float]]:
    """Label and overlap of each wanted segment that some found one of its label overlaps by more than half.

    Segments of one side must not share pixels; then none can be taken twice.
    """
    pairs = [(w.label, mask_overlap(f.mask, w.mask)) for w in wanted for f in found if f.label == w.label]
    return [(label, share) for label, share in pairs if share > SAME]


def panoptic_quality(found: list[list[Segment]], wanted: list[list[Segment]]) -> dict[str, float]:
    """The sum of overlaps, divided by the agreeing segments plus half of those that only one side has; by label."""
    pairs = [pair for f, w in zip(found, wanted, strict=True) for pair in agreeing(f, w)]
    qualities = []
    for label in sorted({w.label for one in wanted for w in one}):
        overlaps = [share for name, share in pairs if name == label]
        sides = [sum(s.label == label for one in side for s in one) for side in (found, wanted)]
        qualities.append(2 * sum(overlaps) / sum(sides))
    return {"panoptic quality": float(np.mean(qualities))}


def instance_figures(found: list[list[Segment]], wanted: list[list[Segment]]) -> dict[str, float]:
    """Precision and recall of segments, and the mean overlap of those found."""
    overlaps = [share for f, w in zip(found, wanted, strict=True) for _, share in agreeing(f, w)]
    return {
        "things, precision": len(overlaps) / max(1, sum(map(len, found))),
        "things, recall": len(overlaps) / sum(map(len, wanted)),
        "things, mean IoU of those found": float(np.mean(overlaps)) if overlaps else 0.0,
    }
