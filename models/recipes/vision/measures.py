"""Measures of the model cards: IoU of boxes and masks, matched detections, average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAME = 0.5
"""Overlap from which a box or mask counts as found."""


@dataclass(frozen=True)
class Found:
    """A detection: what, where (left, top, right, bottom in pixels), how sure."""

    label: str
    box: Sequence[float]
    score: float = 1.0


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, width) * max(0.0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def mask_overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def matched(found: Sequence[Found], wanted: Sequence[Found]) -> list[float]:
    """For each detection, surest first: its overlap with the figure of its label that it alone takes, or 0."""
    left, overlaps = list(wanted), []
    for one in sorted(found, key=lambda f: -f.score):
        rivals = [(overlap(one.box, w.box), i) for i, w in enumerate(left) if w.label == one.label]
        best, at = max(rivals, default=(0.0, -1))
        overlaps.append(best if best >= SAME else 0.0)
        if best >= SAME:
            del left[at]
    return overlaps


def detection_figures(found: list[list[Found]], wanted: list[list[Found]], threshold: float) -> dict[str, float]:
    """Precision, recall and mean overlap of what reaches the threshold, and precision averaged over all of them."""
    sure = [[f for f in one if f.score >= threshold] for one in found]
    overlaps = [o for f, w in zip(sure, wanted, strict=True) for o in matched(f, w)]
    right = [o for o in overlaps if o]
    return {
        "precision": len(right) / max(1, len(overlaps)),
        "recall": len(right) / sum(map(len, wanted)),
        "mean IoU of found boxes": float(np.mean(right)) if right else 0.0,
        "mAP at IoU .5": mean_average_precision(found, wanted),
    }


def mean_average_precision(found: list[list[Found]], wanted: list[list[Found]]) -> float:
    """The mean over labels of the area under precision by recall, at an overlap of .5."""
    labels = sorted({w.label for one in wanted for w in one})
    return float(np.mean([average_precision(found, wanted, label) for label in labels]))


def average_precision(found: list[list[Found]], wanted: list[list[Found]], label: str) -> float:
    """The area under precision by recall of one label; precision counts as the best at that recall or beyond."""
    scored: list[tuple[float, bool]] = []
    for some, right in zip(found, wanted, strict=True):
        mine = sorted((f for f in some if f.label == label), key=lambda f: -f.score)
        scored += [(f.score, o > 0) for f, o in zip(mine, matched(mine, right), strict=True)]
    hits = np.array([hit for _, hit in sorted(scored, key=lambda s: -s[0])], dtype=float)
    total = sum(w.label == label for one in wanted for w in one)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best_beyond = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best_beyond * hits).sum() / total)
