"""Drawn scenes: coloured figures on a shaded ground, with the mask and box of each figure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

KINDS = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (205, 40, 40), "yellow": (230, 205, 50), "green": (45, 165, 70), "blue": (45, 85, 205),
    "purple": (140, 55, 165), "white": (240, 240, 240),
}  # fmt: skip
UPRIGHT = {"circle": 0.0, "square": math.pi / 4, "triangle": -math.pi / 2, "cross": 0.0}
"""By how much a figure is turned to stand on its base."""
FINER = 4
"""Figures are drawn so much larger and then shrunk, which smooths their edges."""
TRIES = 30
LEAST_VISIBLE = 0.6

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Figure:
    """A figure of a scene: what it is, which pixels show it, and how much of each pixel it covers."""

    kind: str
    colour: str
    mask: Mask
    coverage: Pixels

    @property
    def words(self) -> str:
        """The figure in words: `red circle`."""
        return f"{self.colour} {self.kind}"

    @property
    def box(self) -> Box:
        """Left, top, right, bottom of what is visible, in pixels; right and bottom lie behind the last pixel."""
        ys, xs = np.nonzero(self.mask)
        return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


@dataclass(frozen=True)
class Scene:
    """An image of 8-bit RGB, `[size, size, 3]`, and its figures from back to front."""

    pixels: NDArray[np.uint8]
    figures: tuple[Figure, ...]

    @property
    def image(self) -> Image.Image:
        """The image as Pillow's."""
        return Image.fromarray(self.pixels)


def corners(kind: str, angle: float) -> list[tuple[float, float]]:
    """The corners of a figure of radius one."""
    if kind == "cross":
        wide, narrow = 1.05, 0.36
        quarter = [(wide, -narrow), (wide, narrow), (narrow, narrow)]
        points = [
            (x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a))
            for a in (0, math.pi / 2, math.pi, math.pi * 1.5)
            for x, y in quarter
        ]
    else:
        count, reach = (3, 1.15) if kind == "triangle" else (4, 1.1)
        points = [(reach * math.cos(2 * math.pi * i / count), reach * math.sin(2 * math.pi * i / count))
                  for i in range(count)]  # fmt: skip
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def coverage(kind: str, centre: tuple[float, float], radius: float, angle: float, size: int) -> Pixels:
    """How much of each pixel the figure covers, from 0 to 1."""
    canvas = Image.new("L", (size * FINER, size * FINER))
    pen, (x, y), r = ImageDraw.Draw(canvas), (centre[0] * FINER, centre[1] * FINER), radius * FINER
    if kind == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    else:
        pen.polygon([(x + r * dx, y + r * dy) for dx, dy in corners(kind, angle)], fill=255)
    return np.asarray(canvas.reduce(FINER), dtype=np.float32) / 255


def tinted(rng: np.random.Generator, base: tuple[int, int, int], spread: float = 22) -> Pixels:
    """A colour near the given one."""
    return np.clip(np.asarray(base, np.float32) + rng.uniform(-spread, spread, 3).astype(np.float32), 0, 255)


def shaded(rng: np.random.Generator, size: int, base: Pixels) -> Pixels:
    """A ground of that colour that grows darker in some direction; `[size, size, 3]`."""
    angle, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0, 40)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    slope = (xs * math.cos(angle) + ys * math.sin(angle)) * depth
    return np.clip(base + slope[..., None], 0, 255).astype(np.float32)


def grey_ground(rng: np.random.Generator, size: int) -> Pixels:
    """A shaded grey ground with a slight tint."""
    level = int(rng.integers(50, 150))
    return shaded(rng, size, tinted(rng, (level, level, level), 10))


def places(
    rng: np.random.Generator, size: int, count: int, radii: tuple[float, float], nearness: float
) -> list[tuple[float, float, float]]:
    """Centres and radii of at most `count` discs that keep apart: at 1 they may touch, below it overlap."""
    found: list[tuple[float, float, float]] = []
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        r = rng.uniform(*radii)
        x, y = rng.uniform(r * 0.9, size - r * 0.9, 2)
        if all(math.hypot(x - a, y - b) > (r + s) * nearness for a, b, s in found):
            found.append((x, y, r))
    return found


def painted(ground: Pixels, figure: Figure, colour: Pixels) -> Pixels:
    """The ground with the figure on it."""
    share = figure.coverage[..., None]
    return ground * (1 - share) + colour * share


def draw_scene(
    rng: np.random.Generator, size: int, count: int, radii: tuple[float, float], *, nearness: float = 1.05,
    ground: Pixels | None = None, tilt: float = 0.3, allowed: tuple[tuple[str, str], ...] = (),
) -> Scene:  # fmt: skip
    """A scene of up to `count` figures, each turned by up to `tilt` radians; what overlaps, the later figure hides.

    `allowed` are the pairs of colour and kind that may come; by default all.
    """
    pixels = grey_ground(rng, size) if ground is None else ground
    figures: list[Figure] = []
    for x, y, radius in places(rng, size, count, radii, nearness):
        colour, kind = allowed[rng.integers(len(allowed))] if allowed else any_figure(rng)
        covered = coverage(kind, (x, y), radius, UPRIGHT[kind] + rng.uniform(-tilt, tilt), size)
        new = Figure(kind, colour, covered >= 0.5, covered)
        behind = [replace(f, mask=f.mask & ~new.mask) for f in figures]
        if all(b.mask.sum() >= LEAST_VISIBLE * (b.coverage >= 0.5).sum() for b in behind):
            figures = [*behind, new]
            pixels = painted(pixels, new, tinted(rng, COLOURS[colour]))
    return Scene(np.round(pixels).astype(np.uint8), tuple(figures))


def any_figure(rng: np.random.Generator) -> tuple[str, str]:
    """A colour and a kind."""
    return tuple(COLOURS)[rng.integers(len(COLOURS))], KINDS[rng.integers(len(KINDS))]
