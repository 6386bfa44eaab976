"""Masks at the size of the image."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from services.engine.threads.turns import give_way

Size = tuple[int, int]
"""Height and width in pixels."""


def upscaled(maps: Tensor, size: Size) -> Tensor:
    """Returns the maps `[maps, *size]` of the maps `[maps, height, width]`, by bilinear interpolation."""
    return interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def logit(probability: float) -> float:
    """Returns the number whose sigmoid is the probability: minus infinity for 0, infinity for 1."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


class Contest:
    """Gives every pixel to one of several maps: to the one that is greatest there, and of equals to the first.

    Maps come one after another, so that only one of them needs to be as large as the image.
    """

    def __init__(self, size: Size) -> None:
        self._best = torch.full(size, -math.inf)
        self.owners = torch.zeros(size, dtype=torch.int16)
        """Number of the map a pixel belongs to; 0 where no map was greater than minus infinity."""
        self._count = 0

    def enter(self, values: Tensor) -> None:
        """Takes the next map, which is changed."""
        give_way()
        better = values > self._best
        self.owners.masked_fill_(better, self._count)
        torch.maximum(self._best, values, out=self._best)
        self._count += 1
