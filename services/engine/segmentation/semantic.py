"""One region per class."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from services.engine.segmentation.region import Region
from services.engine.segmentation.upscaling import Contest, Size, upscaled


def semantic_regions(scores: Tensor, size: Size) -> Iterator[Region]:
    """Yields a region for each class that is the likeliest somewhere, by its index.

    Args:
        scores: `[classes, height, width]` in float32.
        size: of the image.
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
    """Returns the classes that may be the likeliest somewhere: mostly a few, and only they need be upscaled.

    Between four scores of a class no value is above the greatest or below the least. A class can win there only if its
    greatest is not below what another class has at least.
    """
    bound = torch.full((scores.shape[1] + 1, scores.shape[2] + 1), -math.inf)
    for one in scores:
        torch.maximum(bound, -_greatest_around(-one), out=bound)
    bound -= 1e-5 * bound.abs() + 1e-6  # interpolation rounds
    return [i for i, one in enumerate(scores) if (_greatest_around(one) >= bound).any()]


def _greatest_around(values: Tensor) -> Tensor:
    """Returns the greatest of each four neighbours, `[height + 1, width + 1]`; at the edge of fewer."""
    around = pad(values[None, None], (1, 1, 1, 1), mode="replicate")
    return max_pool2d(around, 2, stride=1)[0, 0]
