"""Limits how many large images are postprocessed at once, because their masks and depth maps take much memory."""

from services.engine.media.output_image import LARGE
from services.engine.threads.turns import hold_much


def make_pixels(width: int, height: int) -> None:
    """Call before allocating an output of this many pixels. If it is large, waits until few others hold as much."""
    if width * height > LARGE:
        hold_much()
