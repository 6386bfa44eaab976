"""Draws small images in a terminal, two pixels per character."""

import io

from PIL import Image
from rich.text import Text

ALONE, BESIDE = 18, 14
"""Side length in pixels of a single image, and of each of several."""
WIDTH = 2 * BESIDE + 2
"""Width of two images in characters."""


def picture(*images: Image.Image) -> Text:
    """Returns the images side by side. A narrow column crops them instead of wrapping."""
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
    """Decodes an image file."""
    return Image.open(io.BytesIO(data))


def _colour(pixel: object) -> str:
    assert isinstance(pixel, tuple)
    red, green, blue = (int(value) for value in pixel)
    return f"#{red:02x}{green:02x}{blue:02x}"
