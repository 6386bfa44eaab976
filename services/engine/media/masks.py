"""Masks: boolean arrays `[height, width]` that say which pixels belong to a region."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]


def run_lengths(mask: Mask) -> list[int]:
    """Returns the lengths of runs outside and inside by turns, down the columns from left to right, as in COCO.

    The first is outside and may be 0, no other is; they sum to the pixels of the mask.
    """
    pixels = mask.ravel(order="F")
    if not pixels.size:
        return []
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths = np.diff(changes, prepend=0, append=pixels.size)
    return [0, *lengths.tolist()] if pixels[0] else lengths.tolist()


def mask_of(run_lengths: Sequence[int], height: int, width: int) -> Mask:
    """Returns the mask that has these run lengths.

    Raises:
        ValueError: one is negative, or they do not sum to `height` × `width`.
    """
    if sum(run_lengths) != height * width:
        raise ValueError(f"run lengths sum to {sum(run_lengths)}, not to {height} x {width}")
    inside = np.arange(len(run_lengths)) % 2 == 1
    return np.repeat(inside, np.asarray(run_lengths, dtype=np.int64)).reshape(width, height).T


def mask_png(mask: Mask) -> bytes:
    """Returns the mask as a PNG of one bit per pixel: white belongs to the region."""
    file = BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def pixel_count(mask: Mask) -> int:
    """Returns how many pixels belong to the region."""
    return int(np.count_nonzero(mask))


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """Returns the smallest box around the region: x_min, y_min, x_max, y_max in pixels.

    The box's right and lower edges lie behind its last pixels, so that one pixel is a box of width 1.

    Raises:
        ValueError: no pixel belongs to the region.
    """
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        raise ValueError("an empty region has no box")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
