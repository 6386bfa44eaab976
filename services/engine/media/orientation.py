"""Reads and applies the orientation tag of EXIF."""

import struct

from PIL import Image
from PIL.Image import Transpose

_TAG = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I"}
"""Of the numbers an entry may hold, by its type."""
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def orientation(exif: bytes) -> int:
    """Returns the orientation in an EXIF block, 1 to 8; 1 (upright) if there is none or the block is broken.

    Read here, as Pillow warns of broken blocks, which a process counts and prints, and takes a tag of XMP in its place.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        value = _entry(tiff, order)
    except struct.error:
        return 1
    return value if value in _UPRIGHT else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Returns the image turned upright."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _entry(tiff: bytes, order: str) -> int:
    """Returns the tag's value in the first directory; 1 if it has none."""
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, directory)
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, place)
        if tag == _TAG:
            known = kind in _FORMATS and values == 1
            return struct.unpack_from(order + _FORMATS[kind], tiff, place + 8)[0] if known else 1
    return 1
