"""How large an image becomes on its way to what a model reads: small files of a long line of pixels can become huge."""

from typing import Any

from services.engine.media.image import ImageLimits
from services.engine.media.refusal import ImageRefused

_SQUARED = ("Owlv2ImageProcessorPil", "LlavaImageProcessorPil")
"""Fill an image up to a square before they make it smaller, if they are to fill up."""
_FIT_LAST = ("DonutImageProcessorPil", "NougatImageProcessorPil")
"""Resize the shorter side to the smaller one of what they are told, and only then let the longer one fit."""


def check_growth(processor: Any, width: int, height: int, limits: ImageLimits) -> None:
    """Refuses an image that an image processor would make larger than the limit. Raises ImageRefused."""
    check_grown(_grown(processor, max(width, height), min(width, height)), width, height, limits)


def check_grown(pixels: float, width: int, height: int, limits: ImageLimits) -> None:
    """Refuses an image that would grow to so many pixels, if these are too many. Raises ImageRefused."""
    if pixels > limits.pixels:
        raise ImageRefused(
            f"is {width} × {height} pixels; on the way to what the model reads it would have {pixels:.0f}, and at "
            f"most {limits.pixels} are accepted: cut it to a less narrow shape"
        )


def _grown(processor: Any, longer: int, shorter: int) -> float:
    """Returns how many pixels an image has at most until the model reads it; 0 where it only becomes smaller."""
    kind, size = type(processor).__name__, getattr(processor, "size", None)
    if kind in _SQUARED and processor.do_pad:
        return longer**2
    if size is None or not getattr(processor, "do_resize", False):
        return 0
    if kind in _FIT_LAST:
        side = min(size.height, size.width)
    else:
        side = 0 if getattr(size, "longest_edge", None) else getattr(size, "shortest_edge", None) or 0
    return side**2 * longer / shorter
