"""Encodes a model's output image as a file."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.engine.media.media_type import essence
from services.engine.media.refusal import ImageRefused
from services.engine.threads.turns import restless

DEFAULT_TYPE = "image/png"
LARGE = 1 << 22
"""Pixels from which encoding a PNG takes half a second or more."""
_ACCEPTED = "must be image/png, image/jpeg or image/webp"


@dataclass(frozen=True)
class _Encoding:
    """Pillow's name of a format, what its encoder is told, and the longest side a file can hold."""

    name: str
    options: dict[str, Any]
    longest_side: int


_ENCODINGS = {
    "image/png": _Encoding("PNG", {}, 2**31 - 1),
    # Colours as fine as brightness: an image was asked for its detail.
    "image/jpeg": _Encoding("JPEG", {"quality": 95, "subsampling": 0}, 65_500),
    "image/webp": _Encoding("WEBP", {"quality": 95}, 16_383),
}


def check_output_type(media_type: str) -> str:
    """Returns the media type of an output image in lower case and without parameters.

    Raises:
        ImageRefused: it is none that is written.
    """
    written = essence(media_type)
    if written not in _ENCODINGS:
        raise ImageRefused(_ACCEPTED)
    return written


def check_output_size(media_type: str, width: int, height: int) -> None:
    """Refuses a size that no file of this type can have; best before the image is computed.

    Raises:
        ImageRefused: it cannot, or `media_type` is none that is written.
    """
    longest = _ENCODINGS[check_output_type(media_type)].longest_side
    if max(width, height) > longest:
        raise ImageRefused(
            f"holds at most {longest} pixels a side, and the new image is {width} × {height}: ask for image/png"
        )


def encode_image(pixels: NDArray[np.uint8], media_type: str = DEFAULT_TYPE) -> bytes:
    """Returns the file of an image: PNG keeps every pixel as it is, JPEG and WebP nearly.

    Args:
        pixels: uint8 `[height, width, 3]`: red, green, blue.
        media_type: `image/png`, `image/jpeg` or `image/webp`.

    Raises:
        ImageRefused: the type is another, or too small for the image.
    """
    height, width, _ = pixels.shape
    check_output_size(media_type, width, height)
    encoding = _ENCODINGS[check_output_type(media_type)]
    file = BytesIO()
    with restless(long=height * width > LARGE):
        Image.fromarray(pixels).save(file, encoding.name, **encoding.options)
    return file.getvalue()
