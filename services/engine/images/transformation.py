"""New images from the outputs of image-to-image models."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs
from services.engine.media.refusal import ImageRefused

_COLOURS = 3


class Transformation:
    """Makes images from a model's outputs. `of` is thread-safe; `compute` belongs to the model's thread."""

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self._window: int = getattr(loaded.config, "window_size", 1)
        self.scale = 1
        """The factor by which the new image is wider and higher; set by `check`."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `image`, `[images, 3, height, width]`. For ImageRunner."""
        return {"image": self._model(**batch).reconstruction}

    def check(self, output: dict[str, Tensor], image: ImageInputs) -> None:
        """Sets `scale` from a test image and the model's output for it.

        Raises:
            ModelRefused: the output has not three channels, or its size is no whole multiple of the input's.
        """
        colours, height, width = output["image"].shape
        read_height, read_width = image.tensors["pixel_values"].shape[-2:]
        self.scale = height // read_height
        if (colours, height, width) != (_COLOURS, read_height * self.scale, read_width * self.scale):
            raise ModelRefused(
                f"It makes {colours} × {height} × {width} numbers of {read_height} × {read_width} pixels."
            )

    def check_sides(self, image: ImageInputs) -> None:
        """Raises ImageRefused for sides that the model does not read. Processors pad images, unless files forbid it."""
        if any(side % self._window for side in image.tensors["pixel_values"].shape[-2:]):
            said = f"the model reads only sides that are multiples of {self._window}"
            raise ImageRefused(f"is {image.width} × {image.height} pixels; {said}")

    def of(self, output: dict[str, Tensor], image: ImageInputs) -> NDArray[np.uint8]:
        """Returns the new image, `[height, width, 3]`, which is `scale` times the size of the one sent.

        The processor pads images at the right and at the bottom. That part is cut off.
        """
        with torch.inference_mode():
            whole = output["image"][:, : image.height * self.scale, : image.width * self.scale]
            return (whole.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
