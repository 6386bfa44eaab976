"""Decodes image files and prepares the model's inputs from them."""

import logging
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from torch import Tensor

from services.engine.device.memory_errors import lacks_memory
from services.engine.images.growth import check_growth
from services.engine.media.image import ImageLimits, decode_image
from services.engine.media.refusal import ImageRefused

log = logging.getLogger(__name__)

TILE_NUMBERS = 3 * 224 * 224
"""The unit of batch and queue sizes: the values of an image of 224 × 224 pixels."""


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """The model's inputs for one item, without a batch dimension."""

    tensors: dict[str, Tensor]

    @property
    def kind(self) -> Hashable:
        """Equal for items that can be stacked into one batch."""
        return tuple((name, value.shape, value.dtype) for name, value in sorted(self.tensors.items()))

    @property
    def length(self) -> int:
        """The cost of the item, in images of 224 × 224 pixels."""
        return math.ceil(max((value.numel() for value in self.tensors.values()), default=0) / TILE_NUMBERS)


@dataclass(frozen=True, eq=False)
class ImageInputs(ModelInputs):
    """The model's inputs for one image, and the size of the upright image as it was sent, in pixels."""

    width: int
    height: int


class ImageReader:
    """Decodes images and runs the checkpoint's own image processor on them. Thread-safe.

    Without a processor, it only returns the size of images, for models that need no more.
    """

    def __init__(self, processor: Any, limits: ImageLimits) -> None:
        self._processor = processor
        self.limits = limits
        self.reads = processor is not None
        """Whether the model reads images at all."""

    def read(self, data: bytes, media_type: str) -> ImageInputs:
        """Returns the model's inputs for an image file.

        Raises:
            ImageRefused: see `decode_image`; or its sides are so unequal that it cannot be resized for the model.
        """
        return self.process(decode_image(data, media_type, self.limits))

    def process(self, image: Image) -> ImageInputs:
        """Returns the model's inputs for an RGB image. Raises ImageRefused like `read`."""
        width, height = image.size
        if self._processor is None:
            return ImageInputs({}, width, height)
        check_growth(self._processor, width, height, self.limits)
        return ImageInputs(processed(self._processor, image), width, height)


def processed(processor: Any, image: Image) -> dict[str, Tensor]:
    """Runs an image processor on an RGB image that `check_growth` accepted.

    Raises:
        ImageRefused: the image is too narrow or too small to be resized for the model.
    """
    try:
        found = processor(images=image, return_tensors="pt")
    except (ValueError, ZeroDivisionError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        # With an RGB image, only its size can make a processor fail.
        log.warning("An image of %d × %d pixels cannot be processed: %s", *image.size, error)
        raise unfit(image) from error
    return {name: value[0] for name, value in found.items() if isinstance(value, Tensor)}


def unfit(image: Image) -> ImageRefused:
    """Returns the error for an image that cannot be resized for the model."""
    return ImageRefused(f"of {image.width} × {image.height} pixels cannot be resized to what the model reads")
