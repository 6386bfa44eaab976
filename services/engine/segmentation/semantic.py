"""One region per class."""

from collections.abc import Iterator

import torch
from torch import Tensor

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
    around = torch.nn.functional.pad(scores[None], (1, 1, 1, 1), mode="replicate")
    greatest = torch.nn.functional.max_pool2d(around, 2, stride=1)[0]
    least = -torch.nn.functional.max_pool2d(-around, 2, stride=1)[0]
    bound = least.amax(0)
    margin = 1e-5 * bound.abs() + 1e-6  # interpolation rounds
    return (greatest >= bound - margin).flatten(1).any(1).nonzero()[:, 0].tolist()
