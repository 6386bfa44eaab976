"""Scenes under a sky, with every pixel in exactly one segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.recipes.vision.drawing import KINDS, Mask, draw_scene, shaded, tinted

SIDE = 64
STUFF = ("sky", "grass")
"""What comes once per image and cannot be counted."""
LABELS = (*STUFF, *KINDS)


@dataclass(frozen=True)
class PanopticScene:
    """An image of 8-bit RGB and its segments: the label and the pixels of each."""

    pixels: NDArray[np.uint8]
    labels: tuple[str, ...]
    masks: NDArray[np.bool_]

    @property
    def numbered(self) -> NDArray[np.uint8]:
        """The number of its segment at each pixel, from 0."""
        return self.masks.argmax(0).astype(np.uint8)


def draw_panoptic_scene(rng: np.random.Generator) -> PanopticScene:
    """Sky above grass, and one to four figures in front, some in front of others."""
    sky = sky_mask(rng)
    above = shaded(rng, SIDE, tinted(rng, (150, 195, 235), 18))
    below = shaded(rng, SIDE, tinted(rng, (95, 120, 60), 18))
    ground = np.where(sky[..., None], above, below)
    scene = draw_scene(rng, SIDE, int(rng.integers(1, 5)), (7, 13), nearness=0.85, ground=ground)
    free = ~np.any([f.mask for f in scene.figures], axis=0)
    masks = np.stack([sky & free, ~sky & free, *(f.mask for f in scene.figures)])
    return PanopticScene(scene.pixels, (*STUFF, *(f.kind for f in scene.figures)), masks)


def sky_mask(rng: np.random.Generator) -> Mask:
    """The pixels above a horizon that is a little tilted."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE]
    return ys < rng.uniform(0.3, 0.65) * SIDE + (xs - SIDE / 2) * rng.uniform(-0.25, 0.25)
