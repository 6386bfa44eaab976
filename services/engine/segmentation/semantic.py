"""Semantic segmentation: one region per class."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from services.engine.segmentation.region import Region
from services.engine.segmentation.upscaling import Contest, Size, upscaled


def semantic_regions(scores: Tensor, size: Size) -> Iterator[Region]:
    """Yields a region for each class that has the highest score at some pixel, ordered by class index.

    Args:
        scores: `[classes, height, width]` in float32.
        size: height and width of the image.
    """
    contest = Contest(size)
    possible = _possible(scores)
    for index in possible:
        contest.enter(upscaled(scores[index : index + 1], size)[0])
    present = torch.bincount(contest.owners.flatten().int(), minlength=len(possible))
    for place, index in enumerate(possible):
        if present[place]:
            yield Region(index, None, (contest.owners == place).numpy())


def _possible(scores: Tensor) -> list[int]:
    """Returns the classes that may have the highest score somewhere. Mostly these are few, and only they are upscaled.

    An interpolated score lies between the least and the greatest of its four neighbours. So a class can win in such a
    cell only if its greatest neighbour is not below the least neighbour of every other class.
    """
    bound = torch.full((scores.shape[1] + 1, scores.shape[2] + 1), -math.inf)
    for one in scores:
        torch.maximum(bound, -_greatest_around(-one), out=bound)
    bound -= 1e-5 * bound.abs() + 1e-6  # margin for rounding in the interpolation
    return [i for i, one in enumerate(scores) if (_greatest_around(one) >= bound).any()]


def _greatest_around(values: Tensor) -> Tensor:
    """Returns the maximum of each 2 × 2 neighbourhood, `[height + 1, width + 1]`; fewer values at the edges."""
    around = pad(values[None, None], (1, 1, 1, 1), mode="replicate")
    return max_pool2d(around, 2, stride=1)[0, 0]
