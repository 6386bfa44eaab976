"""Panoptic segmentation: regions that do not overlap."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.segmentation.queries import MaskQueries
from services.engine.segmentation.region import Region
from services.engine.segmentation.upscaling import Contest, Size, upscaled


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of a region. The defaults are those of transformers."""

    score: float = 0.5
    """Least score of a region."""
    mask: float = 0.5
    """Least probability of a pixel that belongs to the mask."""
    visible_share: float = 0.8
    """Least share of the mask's pixels that it must win against the other masks."""


@dataclass(frozen=True)
class Candidates:
    """Masks that compete for pixels, with scores and labels `[candidates]`."""

    scores: Tensor
    labels: Tensor
    masks: Tensor
    """`[candidates, height, width]`. A pixel goes to the mask with the highest value times score."""


def panoptic_regions(
    queries: MaskQueries, size: Size, thresholds: Thresholds, background: Collection[int] = ()
) -> Iterator[Region]:
    """Yields a region for each mask whose best class is not "none". Masks of one background class are merged."""
    scores, labels = queries.classes.softmax(-1).max(-1)
    kept = (labels != queries.classes.shape[-1] - 1) & (scores >= thresholds.score)
    candidates = Candidates(scores[kept], labels[kept], queries.masks[kept].sigmoid())
    yield from without_overlap(candidates, size, thresholds, background)


def without_overlap(
    candidates: Candidates, size: Size, thresholds: Thresholds, background: Collection[int] = ()
) -> Iterator[Region]:
    """Yields each mask's region: the pixels where it wins. Masks that keep less than `visible_share` are dropped."""
    contest, areas = Contest(size), []
    for mask, score in zip(candidates.masks, candidates.scores, strict=True):
        weighed = upscaled(mask[None], size)[0].mul_(score)
        areas.append(int((weighed >= thresholds.mask).sum()))
        contest.enter(weighed)
    together: dict[int, list[int]] = {}
    for place, label in enumerate(candidates.labels.tolist()):
        visible = int((contest.owners == place).sum()) if areas[place] else 0
        if not visible or visible / areas[place] < thresholds.visible_share:
            continue
        if label in background:
            together.setdefault(label, []).append(place)
        else:
            yield Region(label, float(candidates.scores[place]), (contest.owners == place).numpy())
    for label, places in together.items():
        mask = torch.isin(contest.owners, torch.tensor(places, dtype=torch.int16))
        yield Region(label, float(candidates.scores[places].max()), mask.numpy())
