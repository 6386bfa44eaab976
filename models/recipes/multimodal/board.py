"""Draws the pictures: up to five figures on a 3 x 3 grid, or one handwritten digit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.recipes.vision.digit_images import digit_images
from models.recipes.vision.drawing import COLOURS, UPRIGHT, any_figure, coverage, grey_ground, tinted

SIDE = 60
NINTH = SIDE // 3
RADII = {"small": (5.0, 6.0), "large": (8.0, 9.3)}
SIZES = tuple(RADII)
PLACES = (
    "at the top left", "at the top centre", "at the top right",
    "at the middle left", "in the centre", "at the middle right",
    "at the bottom left", "at the bottom centre", "at the bottom right",
)  # fmt: skip
SHARES = (0.04, 0.2, 0.22, 0.22, 0.17, 0.15)
"""Probabilities of 0 to 5 figures in a picture."""
TILT = 0.2
STRAY = 2.5
"""Pixels by which a figure may be off the centre of its grid cell, in either direction."""


@dataclass(frozen=True)
class Piece:
    """A figure of a picture. Places number the grid cells row by row from the top left."""

    size: str
    colour: str
    kind: str
    place: int

    @property
    def row(self) -> int:
        """0 for the top, 2 for the bottom."""
        return self.place // 3

    @property
    def column(self) -> int:
        """0 for the left, 2 for the right."""
        return self.place % 3


@dataclass(frozen=True)
class Picture:
    """8-bit RGB `[60, 60, 3]`, and what it shows: figures in reading order, or a digit."""

    pixels: NDArray[np.uint8]
    pieces: tuple[Piece, ...] = ()
    digit: int | None = None

    @property
    def image(self) -> Image.Image:
        """The picture as Pillow's."""
        return Image.fromarray(self.pixels)


def draw_board(rng: np.random.Generator) -> Picture:
    """A picture of up to five figures."""
    taken = sorted(rng.permutation(9)[: rng.choice(len(SHARES), p=SHARES)].tolist())
    pieces = []
    for place in taken:
        colour, kind = any_figure(rng)
        pieces.append(Piece(SIZES[rng.integers(2)], colour, kind, place))
    pixels = grey_ground(rng, SIDE)
    for piece in pieces:
        radius = rng.uniform(*RADII[piece.size])
        stray = min(STRAY, NINTH / 2 - radius)
        middle = NINTH / 2 + rng.uniform(-stray, stray, 2)
        angle = UPRIGHT[piece.kind] + rng.uniform(-TILT, TILT)
        share = coverage(piece.kind, (middle[0], middle[1]), radius, angle, NINTH)[..., None]
        ninth = pixels[piece.row * NINTH :, piece.column * NINTH :][:NINTH, :NINTH]
        ninth[:] = ninth * (1 - share) + tinted(rng, COLOURS[piece.colour]) * share
    return Picture(np.round(pixels).astype(np.uint8), tuple(pieces))


def draw_digit(rng: np.random.Generator, held_out: bool) -> Picture:
    """A picture of a handwritten digit, white on black."""
    images, digits = digit_images(held_out)
    at = rng.integers(len(digits))
    large = Image.fromarray(images[at]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Picture(np.asarray(large), digit=int(digits[at]))


def draw_picture(rng: np.random.Generator, held_out: bool, digits: float = 0.15) -> Picture:
    """A picture of figures, or of a digit with that chance."""
    return draw_digit(rng, held_out) if rng.random() < digits else draw_board(rng)


@dataclass(frozen=True)
class Trait:
    """Properties of a figure in a question; empty ones are unspecified."""

    size: str = ""
    colour: str = ""
    kind: str = ""

    def fits(self, piece: Piece) -> bool:
        """Whether it is true of a figure."""
        pairs = ((self.size, piece.size), (self.colour, piece.colour), (self.kind, piece.kind))
        return all(not wanted or wanted == given for wanted, given in pairs)

    def of(self, picture: Picture) -> list[Piece]:
        """The figures of a picture it is true of."""
        return [piece for piece in picture.pieces if self.fits(piece)]

    def hiding(self, name: str) -> Trait:
        """The trait without what it tells of size, colour or kind."""
        return replace(self, **{name: ""}) if name else self

    def one(self, noun: str = "figure") -> str:
        """In words, one: `small red figure`."""
        return " ".join(word for word in (self.size, self.colour, self.kind or noun) if word)

    def many(self, noun: str = "figure") -> str:
        """In words, several: `red crosses`."""
        return self.one(noun) + ("es" if self.kind == "cross" else "s")


def any_trait(rng: np.random.Generator) -> Trait:
    """A trait that a question may ask for, true of something or not."""
    colour, kind = any_figure(rng)
    return narrowed(rng, Piece(SIZES[rng.integers(2)], colour, kind, 0))


def narrowed(rng: np.random.Generator, piece: Piece) -> Trait:
    """Some of what can be said of a figure; at least its colour, kind or size."""
    keeps = (("colour", "kind"), ("kind",), ("colour",), ("size", "kind"), ("size", "colour"), ("size",),
             ("size", "colour", "kind"))  # fmt: skip
    kept = keeps[rng.choice(len(keeps), p=(0.27, 0.27, 0.17, 0.09, 0.07, 0.06, 0.07))]
    return Trait(**{name: getattr(piece, name) for name in kept})
