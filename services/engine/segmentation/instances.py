"""Instance segmentation: one region per object; regions may overlap."""

from collections.abc import Iterator

import torch
from torch.nn.functional import interpolate

from services.engine.segmentation.panoptic import Candidates, Thresholds, without_overlap
from services.engine.segmentation.queries import MaskQueries
from services.engine.segmentation.region import Region
from services.engine.segmentation.upscaling import Size, logit


def likeliest_pairs(queries: MaskQueries) -> Candidates:
    """Returns the best (mask, class) pairs, as many as there are masks; a mask may be in several. Masks are logits."""
    scores = queries.classes.softmax(-1)[:, :-1]
    best, pairs = scores.flatten().topk(len(scores))
    return Candidates(best, pairs % scores.shape[1], queries.masks[pairs // scores.shape[1]])


def separate_instances(queries: MaskQueries, size: Size, thresholds: Thresholds) -> Iterator[Region]:
    """Yields a region with all of its mask's pixels for each pair that reaches the score threshold."""
    cut = logit(thresholds.mask)
    candidates = likeliest_pairs(queries)
    for score, label, mask in zip(candidates.scores, candidates.labels, candidates.masks, strict=True):
        if score < thresholds.score:  # pairs are sorted, and the next step only lowers the score
            return
        inside = mask >= cut
        sure = float(score * (mask.sigmoid() * inside).sum() / (inside.sum() + 1e-6))
        if sure >= thresholds.score and inside.any():
            scaled = interpolate(inside[None, None].to(torch.uint8), size=size, mode="nearest")[0, 0]
            yield Region(int(label), sure, scaled.bool().numpy())


def competing_instances(queries: MaskQueries, size: Size, thresholds: Thresholds) -> Iterator[Region]:
    """Yields non-overlapping regions of the pairs that reach the score threshold, as OneFormer does."""
    found = likeliest_pairs(queries)
    kept = found.scores >= thresholds.score
    yield from without_overlap(Candidates(found.scores[kept], found.labels[kept], found.masks[kept]), size, thresholds)
