"""Limits the size that an image processor resizes or pads an image to: very narrow images can become huge."""

from typing import Any

from services.engine.media.image import ImageLimits
from services.engine.media.refusal import ImageRefused

_SQUARED = ("Owlv2ImageProcessorPil", "LlavaImageProcessorPil")
"""These pad an image to a square before they resize it, if `do_pad` is set."""
_FIT_LAST = ("DonutImageProcessorPil", "NougatImageProcessorPil")
"""These first resize the shorter side to the smaller side of `size`, and only then make the longer side fit."""


def check_growth(processor: Any, width: int, height: int, limits: ImageLimits) -> None:
    """Raises ImageRefused if an image processor would make the image larger than the limit in between."""
    check_grown(_grown(processor, max(width, height), min(width, height)), width, height, limits)


def check_grown(pixels: float, width: int, height: int, limits: ImageLimits) -> None:
    """Raises ImageRefused if `pixels`, to which the image would grow, exceed the limit."""
    if pixels > limits.pixels:
        raise ImageRefused(
            f"is {width} × {height} pixels; on the way to what the model reads it would have {pixels:.0f}, and at "
            f"most {limits.pixels} are accepted: cut it to a less narrow shape"
        )


def _grown(processor: Any, longer: int, shorter: int) -> float:
    """Returns the most pixels that the image has during processing, or 0 if it never grows."""
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
