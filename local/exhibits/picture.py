"""Small pictures in a terminal: two pixels to a character."""

import io

from PIL import Image
from rich.text import Text

ALONE, BESIDE = 18, 14
"""Pixels along a side, of one image and of each of several; a character is one wide and two high."""
WIDTH = 2 * BESIDE + 2
"""Characters that two images take."""


def picture(*images: Image.Image) -> Text:
    """Returns the images side by side, which a narrow column may cut but not wrap."""
    side = ALONE if len(images) == 1 else BESIDE
    small = [image.convert("RGB").resize((side, side), Image.Resampling.BOX) for image in images]
    lines = Text(no_wrap=True, overflow="crop")
    for y in range(0, side, 2):
        for place, image in enumerate(small):
            lines.append("  " if place else "\n" if y else "")
            for x in range(side):
                upper, lower = (_colour(image.getpixel((x, y + below))) for below in (0, 1))
                lines.append("▀", style=f"{upper} on {lower}")
    return lines


def opened(data: bytes) -> Image.Image:
    """Returns the image in a file."""
    return Image.open(io.BytesIO(data))


def _colour(pixel: object) -> str:
    assert isinstance(pixel, tuple)
    red, green, blue = (int(value) for value in pixel)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"#{red:02x}{green:02x}{blue:02x}"
