"""Points and boxes that mean a figure, as training gives them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.recipes.vision.drawing import Figure, Scene

INSIDE, OUTSIDE, NOTHING = 1, 0, -10
"""SAM's labels of points."""
LOOSE = 2.0
"""Pixels by which the side of a box may miss."""


def drawn_prompts(
    rng: np.random.Generator, scenes: list[Scene], count: int, *, with_points: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """So many prompts per scene as the model takes them, and the masks they mean, `[scenes, count, side, side]`."""
    meant = [[scene.figures[i] for i in rng.integers(len(scene.figures), size=count)] for scene in scenes]
    masks = torch.from_numpy(np.stack([[f.mask for f in figures] for figures in meant])).float()
    if not with_points:
        boxes = np.array([[f.box for f in figures] for figures in meant])
        boxes += rng.uniform(-LOOSE, LOOSE, boxes.shape) * rng.integers(0, 2, (*boxes.shape[:2], 1))
        return {"input_boxes": torch.from_numpy(boxes.astype(np.float32))}, masks
    drawn = [[points_of(rng, figure) for figure in figures] for figures in meant]
    points = np.array([[p for p, _ in figures] for figures in drawn], np.float32)
    labels = np.array([[label for _, label in figures] for figures in drawn])
    return {"input_points": torch.from_numpy(points), "input_labels": torch.from_numpy(labels)}, masks


def points_of(rng: np.random.Generator, figure: Figure) -> tuple[list[list[float]], list[int]]:
    """A point inside the figure and a second one: inside, outside, or none."""
    second = int(rng.choice([INSIDE, OUTSIDE, NOTHING, NOTHING]))
    away = [0.0, 0.0] if second == NOTHING else a_point(rng, figure.mask if second == INSIDE else ~figure.mask)
    return [a_point(rng, figure.mask), away], [INSIDE, second]


def a_point(rng: np.random.Generator, mask: np.ndarray) -> list[float]:
    """The middle of a pixel of the mask."""
    y, x = rng.choice(np.argwhere(mask))
    return [float(x) + 0.5, float(y) + 0.5]
