"""Drawn rooms of known depth: a floor, a wall, and boards that stand on the floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.recipes.vision.drawing import COLOURS, KINDS, UPRIGHT, Pixels, coverage, tinted

SIDE = 64
FARTHEST = 10
NEAREST = 1.0
FOCAL = 64.0
"""The camera: pixels per unit of slope, so that a board of one metre at one metre is as wide as the image."""
HEIGHT = 0.8
"""Of the camera above the floor, in metres."""


@dataclass(frozen=True)
class Room:
    """An image of 8-bit RGB and the metres to each pixel, `[64, 64]`."""

    pixels: NDArray[np.uint8]
    depth: Pixels


def draw_room(rng: np.random.Generator) -> Room:
    """A room seen by a camera that is slightly tilted."""
    horizon, wall = rng.uniform(16, 28), rng.uniform(5, FARTHEST)
    pixels, depth = empty_room(rng, horizon, wall)
    for far in sorted(1 / rng.uniform(1 / (wall - 0.5), 1 / 1.5, rng.integers(1, 5)), reverse=True):
        covered = board(rng, horizon, far)
        colour = tinted(rng, tuple(COLOURS.values())[rng.integers(len(COLOURS))])
        pixels = pixels * (1 - covered[..., None]) + dimmed(colour, far) * covered[..., None]
        depth = np.where(covered >= 0.5, np.float32(far), depth)
    return Room(np.round(np.clip(pixels, 0, 255)).astype(np.uint8), depth.astype(np.float32))


def empty_room(rng: np.random.Generator, horizon: float, wall: float) -> tuple[Pixels, Pixels]:
    """Floor and wall: their colours, darker with distance, and their depth."""
    rows = np.arange(SIDE, dtype=np.float32)[:, None] + 0.5
    floor = FOCAL * HEIGHT / np.maximum(rows - horizon, 1e-3)
    depth = np.broadcast_to(np.clip(floor, NEAREST, wall), (SIDE, SIDE)).astype(np.float32)
    is_floor = depth < wall
    ground, back = tinted(rng, (150, 130, 105), 25), tinted(rng, (165, 175, 185), 25)
    colours = np.where(is_floor[..., None], ground, back)
    return dimmed(colours, depth[..., None]).astype(np.float32), depth


def dimmed(colour: Pixels, depth: Pixels | float) -> Pixels:
    """Colours at a distance: the light falls off a little."""
    return colour * (1.1 - 0.05 * np.asarray(depth, np.float32))


def board(rng: np.random.Generator, horizon: float, far: float) -> Pixels:
    """What a figure covers that stands on the floor so far away: its foot tells the distance."""
    kind = KINDS[rng.integers(len(KINDS))]
    radius = rng.uniform(0.25, 0.5) * FOCAL / far
    foot = horizon + FOCAL * HEIGHT / far
    below = {"triangle": 1.15 / 2, "square": 1.1 * math.sqrt(0.5), "cross": 1.05}.get(kind, 1.0)
    return coverage(kind, (rng.uniform(4, SIDE - 4), foot - radius * below), radius, UPRIGHT[kind], SIDE)
