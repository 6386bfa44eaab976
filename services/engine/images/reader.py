"""From the bytes of an image to what the model reads."""

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
"""What batches and queues are counted in: the numbers of an image of 224 × 224 pixels."""


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """What the model reads of one item, each without a dimension for the batch."""

    tensors: dict[str, Tensor]

    @property
    def kind(self) -> Hashable:
        """Equal for items that can lie side by side."""
        return tuple((name, value.shape, value.dtype) for name, value in sorted(self.tensors.items()))

    @property
    def length(self) -> int:
        """What it costs, in images of 224 × 224 pixels."""
        return math.ceil(max((value.numel() for value in self.tensors.values()), default=0) / TILE_NUMBERS)


@dataclass(frozen=True, eq=False)
class ImageInputs(ModelInputs):
    """What the model reads of one image, and how large that was, upright, in pixels."""

    width: int
    height: int


class ImageReader:
    """Decodes, resizes and normalizes images as the checkpoint's own processor does. For any thread.

    Without a processor it only tells how large they are.
    """

    def __init__(self, processor: Any, limits: ImageLimits) -> None:
        self._processor = processor
        self.limits = limits
        self.reads = processor is not None
        """Whether the model sees anything of an image."""

    def read(self, data: bytes, media_type: str) -> ImageInputs:
        """Returns what the model reads of an image file.

        Raises:
            ImageRefused: see `decode_image`; or its sides are so unequal that it cannot be resized for the model.
        """
        return self.process(decode_image(data, media_type, self.limits))

    def process(self, image: Image) -> ImageInputs:
        """Returns what the model reads of an image in RGB. Raises ImageRefused as `read` does."""
        width, height = image.size
        if self._processor is None:
            return ImageInputs({}, width, height)
        check_growth(self._processor, width, height, self.limits)
        return ImageInputs(processed(self._processor, image), width, height)


def processed(processor: Any, image: Image) -> dict[str, Tensor]:
    """Returns what an image processor makes of an image in RGB that does not grow beyond limits.

    Raises:
        ImageRefused: its sides are so unequal, or it is so small, that it cannot be resized for the model.
    """
    try:
        found = processor(images=image, return_tensors="pt")
    except (ValueError, ZeroDivisionError, RuntimeError) as error:
        if lacks_memory(error):
            raise
        # Of an image in RGB only the size can be what a processor fails at.
        log.warning("An image of %d × %d pixels cannot be processed: %s", *image.size, error)
        raise unfit(image) from error
    return {name: value[0] for name, value in found.items() if isinstance(value, Tensor)}


def unfit(image: Image) -> ImageRefused:
    """Returns the refusal of an image that nothing can be made of for the model."""
    return ImageRefused(f"of {image.width} × {image.height} pixels cannot be resized to what the model reads")
