"""What models make of an image that is an image again."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs

_COLOURS = 3


class Transformation:
    """Makes images of a model's outputs. Its methods may be called in any thread."""

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self.scale = 1
        """How many times as wide and as high the new image is; known after `check`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `image` `[images, 3, height, width]`; a Compute of ImageRunner."""
        return {"image": self._model(**batch).reconstruction}

    def check(self, output: dict[str, Tensor], image: ImageInputs) -> None:
        """Learns from an image and the model's output for it how much larger that is.

        Raises:
            ModelRefused: it is no image in colours, or not larger by a whole number.
        """
        colours, height, width = output["image"].shape
        read_height, read_width = image.tensors["pixel_values"].shape[-2:]
        self.scale = height // read_height
        if (colours, height, width) != (_COLOURS, read_height * self.scale, read_width * self.scale):
            raise ModelRefused(
                f"It makes {colours} × {height} × {width} numbers of {read_height} × {read_width} pixels."
            )

    def of(self, output: dict[str, Tensor], image: ImageInputs) -> NDArray[np.uint8]:
        """Returns the new image, `[height, width, 3]`, `scale` times as high and wide as the one sent.

        What the processor pads an image with lies at its right and lower edges, and is cut off.
        """
        with torch.inference_mode():
            whole = output["image"][:, : image.height * self.scale, : image.width * self.scale]
            return (whole.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
