"""What is made of large images takes much memory."""

from services.engine.media.output_image import LARGE
from services.engine.threads.turns import hold_much


def make_pixels(width: int, height: int) -> None:
    """To be called before masks, depths or colours of so many pixels are made: of large ones, few are at a time."""
    if width * height > LARGE:
        hold_much()
