"""Scales masks to the size of the image, and finds the best mask for each pixel."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from services.engine.threads.turns import give_way

Size = tuple[int, int]
"""Height and width in pixels."""


def upscaled(maps: Tensor, size: Size) -> Tensor:
    """Returns the maps `[maps, height, width]` resized to `size` by bilinear interpolation."""
    return interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def logit(probability: float) -> float:
    """Returns the inverse of the sigmoid: minus infinity for 0, infinity for 1."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


class Contest:
    """An argmax over maps: assigns each pixel to the map with the highest value, and to the first one of equals.

    Maps are entered one by one, so that only one needs to be in memory at the size of the image.
    """

    def __init__(self, size: Size) -> None:
        self._best = torch.full(size, -math.inf)
        self.owners = torch.zeros(size, dtype=torch.int16)
        """Index of the winning map per pixel, int16; 0 if no map was above minus infinity."""
        self._count = 0

    def enter(self, values: Tensor) -> None:
        """Enters the next map, `[height, width]`."""
        give_way()
        better = values > self._best
        self.owners.masked_fill_(better, self._count)
        torch.maximum(self._best, values, out=self._best)
        self._count += 1
