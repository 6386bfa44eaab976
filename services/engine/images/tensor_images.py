"""The functions of torchvision that transformers' image processors call, in torch. On the CPU the results are equal."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import ModuleType

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor
from torch.nn.functional import interpolate

_PACKAGES = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.v2",
    "torchvision.ops",
    "torchvision.ops.boxes",
)

_CHANNELS = 3
"""Channels of an RGB image."""


class InterpolationMode(Enum):
    """The modes of torchvision that torch supports. Values are those of `torch.nn.functional.interpolate`."""

    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


BY_PILLOWS_NAME = {
    Resampling.NEAREST: InterpolationMode.NEAREST_EXACT,
    Resampling.BILINEAR: InterpolationMode.BILINEAR,
    Resampling.BICUBIC: InterpolationMode.BICUBIC,
    Resampling.LANCZOS: InterpolationMode.LANCZOS,
}
"""The modes by Pillow's numbers, which processor configurations use."""


def pil_to_tensor(image: Image) -> Tensor:
    """Returns an image with several channels as a uint8 tensor `[channels, height, width]`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def resize(
    image: Tensor,
    size: Sequence[int],
    interpolation: InterpolationMode | Resampling = InterpolationMode.BILINEAR,
    antialias: bool = True,
) -> Tensor:
    """Returns images `[..., channels, height, width]` resized to `size` (height, width), with the same dtype."""
    if tuple(size) == image.shape[-2:]:
        return image
    mode = BY_PILLOWS_NAME[interpolation] if isinstance(interpolation, int) else interpolation
    smooth = mode is not InterpolationMode.NEAREST_EXACT
    resized = interpolate(
        image.reshape(-1, *image.shape[-3:]),
        list(size),
        mode=mode.value,
        align_corners=False if smooth else None,
        antialias=antialias and smooth,
    )
    return resized.reshape(*image.shape[:-2], *size)


def pad(
    image: Tensor, padding: Sequence[int], fill: float | Sequence[float] = 0, padding_mode: str = "constant"
) -> Tensor:
    """Returns images padded with one colour by `padding` pixels: left, top, right, bottom."""
    assert padding_mode == "constant", "processors with other padding modes have a Pillow backend"
    left, top, right, bottom = padding
    *others, height, width = image.shape
    padded = image.new_empty(*others, top + height + bottom, left + width + right)
    padded[...] = torch.as_tensor(fill, dtype=image.dtype).reshape(-1, 1, 1)
    padded[..., top : top + height, left : left + width] = image
    return padded


def grayscale_to_rgb(image: Tensor) -> Tensor:
    """Returns images with three channels; one channel is repeated three times."""
    return image if image.shape[-3] >= _CHANNELS else image.repeat_interleave(_CHANNELS, -3)


def crop(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Returns a part of the images, which must lie within them."""
    return image[..., top : top + height, left : left + width]


def normalize(
    image: Tensor, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor, inplace: bool = False
) -> Tensor:
    """Returns `(image - mean) / std`, per channel."""
    shift, scale = (torch.as_tensor(value, dtype=image.dtype).reshape(-1, 1, 1) for value in (mean, std))
    return (image.sub_(shift) if inplace else image.sub(shift)).div_(scale)


@contextmanager
def in_place_of_torchvision() -> Generator[None]:
    """While active, imports of torchvision get this module instead. Not thread-safe."""
    whole, transforms, second, ops, boxes = map(ModuleType, _PACKAGES)
    own = sys.modules[__name__]
    vars(whole).update(transforms=transforms, ops=ops)
    vars(transforms).update(v2=second)
    vars(second).update(functional=own)
    vars(ops).update(boxes=boxes)
    vars(boxes).update(batched_nms=None)  # only SAM's automatic mask generation calls it, which is not served
    found = dict(zip(_PACKAGES, (whole, transforms, second, ops, boxes), strict=True))
    found |= {"torchvision.transforms.v2.functional": own}
    sys.modules.update(found)
    try:
        yield
    finally:
        for name in found:
            del sys.modules[name]
