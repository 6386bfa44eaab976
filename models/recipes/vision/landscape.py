"""Drawn landscapes: things under a sky, with every pixel in exactly one segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.recipes.vision.drawing import Mask, draw_scene, shaded, tinted

SIDE = 64
STUFF = ("sky", "grass")
"""What comes once per image and cannot be counted."""
THINGS = {
    ("red", "square"): "house", ("green", "triangle"): "tree",
    ("purple", "circle"): "ball", ("yellow", "cross"): "star",
}  # fmt: skip
LABELS = (*STUFF, *THINGS.values())


@dataclass(frozen=True)
class Landscape:
    """An image of 8-bit RGB and its segments: the label and the pixels of each."""

    pixels: NDArray[np.uint8]
    labels: tuple[str, ...]
    masks: NDArray[np.bool_]

    @property
    def numbered(self) -> NDArray[np.uint8]:
        """The number of its segment at each pixel, from 0."""
        return self.masks.argmax(0).astype(np.uint8)

    @property
    def labelled(self) -> NDArray[np.uint8]:
        """The number of its label at each pixel."""
        return np.array([LABELS.index(label) for label in self.labels], np.uint8)[self.numbered]


def draw_landscapes(seed: int, count: int) -> list[Landscape]:
    """So many landscapes, the same ones for each seed."""
    rng = np.random.default_rng(seed)
    return [draw_landscape(rng) for _ in range(count)]


def draw_landscape(rng: np.random.Generator) -> Landscape:
    """Sky above grass, and one to four things in front, some in front of others."""
    sky = sky_mask(rng)
    above = shaded(rng, SIDE, tinted(rng, (150, 195, 235), 18))
    below = shaded(rng, SIDE, tinted(rng, (95, 120, 60), 18))
    ground = np.where(sky[..., None], above, below)
    scene = draw_scene(
        rng, SIDE, int(rng.integers(1, 5)), (7, 13), nearness=0.85, ground=ground, allowed=tuple(THINGS)
    )  # fmt: skip
    free = ~np.any([f.mask for f in scene.figures], axis=0)
    masks = np.stack([sky & free, ~sky & free, *(f.mask for f in scene.figures)])
    names = (THINGS[figure.colour, figure.kind] for figure in scene.figures)
    return Landscape(scene.pixels, (*STUFF, *names), masks)


def sky_mask(rng: np.random.Generator) -> Mask:
    """The pixels above a horizon that is a little tilted."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    return ys < rng.uniform(0.3, 0.65) * SIDE + (xs - SIDE / 2) * rng.uniform(-0.25, 0.25)
