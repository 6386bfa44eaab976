"""Small pictures in a terminal: two pixels to a character."""

import io

from PIL import Image
from rich.text import Text

WIDTH, HEIGHT = 18, 18
"""Pixels; a character is one wide and two high."""


def picture(*images: Image.Image) -> Text:
    """Returns the images side by side."""
    small = [image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BOX) for image in images]
    lines = Text()
    for y in range(0, HEIGHT, 2):
        for place, image in enumerate(small):
            lines.append("  " if place else "\n" if y else "")
            for x in range(WIDTH):
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
