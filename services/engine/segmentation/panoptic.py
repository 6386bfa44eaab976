"""Regions that share the image out: no pixel belongs to two."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from services.engine.segmentation.queries import MaskQueries
from services.engine.segmentation.region import Region
from services.engine.segmentation.upscaling import Contest, Size, upscaled


@dataclass(frozen=True)
class Thresholds:
    """What a region must reach."""

    score: float = 0.5
    mask: float = 0.5
    """Probability from which on a pixel belongs to a mask."""
    visible_share: float = 0.8
    """Share of its mask that no likelier one may have taken."""


@dataclass(frozen=True)
class Candidates:
    """Masks that compete for the pixels of an image."""

    scores: Tensor
    labels: Tensor
    masks: Tensor
    """`[candidates, height, width]`; weighed by the scores they compete."""


def panoptic_regions(
    queries: MaskQueries, size: Size, thresholds: Thresholds, background: Collection[int] = ()
) -> Iterator[Region]:
    """Yields a region for each mask with a class, and only one for each class of the background."""
    scores, labels = queries.classes.softmax(-1).max(-1)
    kept = (labels != queries.classes.shape[-1] - 1) & (scores >= thresholds.score)
    candidates = Candidates(scores[kept], labels[kept], queries.masks[kept].sigmoid())
    yield from shared_out(candidates, size, thresholds, background)


def shared_out(
    candidates: Candidates, size: Size, thresholds: Thresholds, background: Collection[int] = ()
) -> Iterator[Region]:
    """Yields what is left of each mask where a likelier one has not taken its pixels, if that is enough."""
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
