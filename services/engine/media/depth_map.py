"""Depth maps: float32 arrays `[height, width]`, as a PNG or as the numbers themselves."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.engine.media import output_image
from services.engine.threads.turns import restless

DepthMap = NDArray[np.float32]

_GREATEST = 65_535


@dataclass(frozen=True)
class DepthPng:
    """A PNG of 16 bits per pixel. The depth of a pixel is `offset` plus `scale` times its value.

    Off by at most half a `scale`, beside what float32 rounds: `offset` is the least depth, and the greatest has the
    value 65535. All values of a map of one depth are 0, and its `scale` is 1, so that the rule can be turned round.
    """

    png: bytes
    scale: float
    offset: float


def depth_png(depth: DepthMap) -> DepthPng:
    """Returns the depths as a PNG.

    Raises:
        ValueError: the map is empty, or holds a depth that is not finite: no model should say so.
    """
    least, greatest = depth_range(depth)
    # The caller gets scale and offset as float32: the values have to fit what is left of them.
    scale = float(np.float32((greatest - least) / _GREATEST)) or 1.0
    steps = (depth.astype(np.float64) - least) / scale
    values = np.minimum(np.rint(steps), _GREATEST).astype(np.uint16)
    file = BytesIO()
    with restless(long=values.size > output_image.LARGE):
        Image.fromarray(values).save(file, "PNG")
    return DepthPng(file.getvalue(), scale, least)


def depth_floats(depth: DepthMap) -> bytes:
    """Returns the depths as little-endian float32, row by row from the upper left corner.

    Raises:
        ValueError: as of `depth_png`.
    """
    depth_range(depth)
    return depth.astype("<f4").tobytes()


def depth_range(depth: DepthMap) -> tuple[float, float]:
    """Returns the least and the greatest depth.

    Raises:
        ValueError: as of `depth_png`.
    """
    if not depth.size:
        raise ValueError("a depth map without pixels")
    # NaN anywhere makes both NaN.
    least, greatest = float(depth.min()), float(depth.max())
    if not (np.isfinite(least) and np.isfinite(greatest)):
        raise ValueError("a depth map with depths that are not finite")
    return least, greatest
