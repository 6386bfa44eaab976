"""What depth models say of an image, pixel by pixel."""

from types import SimpleNamespace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs

_KINDS = {"glpn": "METRIC", "zoedepth": "METRIC", "depth_pro": "METRIC"}
"""Models whose one head is trained on metres."""
_TOLD = {"metric": "METRIC", "relative": "INVERSE"}
"""What Depth Anything's configuration calls relative grows towards the camera."""
_ANGLE = "field_of_view"
"""What Depth Pro may say of an image besides."""


class DepthMaps:
    """Makes depth maps of a model's outputs. Its methods may be called in any thread."""

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self._processor = loaded.processor
        config = loaded.config
        told = _TOLD.get(getattr(config, "depth_estimation_type", ""))
        self.kind = told or _KINDS.get(config.model_type, "UNSPECIFIED")
        """A name of the contract's DepthKind, without its prefix."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `predicted_depth` `[images, height, width]`, and angles if it knows any; a Compute of ImageRunner."""
        output = self._model(**batch)
        angles = getattr(output, _ANGLE, None)
        return {"predicted_depth": output.predicted_depth} | ({} if angles is None else {_ANGLE: angles})

    @torch.inference_mode()
    def of(self, output: dict[str, Tensor], image: ImageInputs) -> NDArray[Any]:
        """Returns the depths of each pixel of the image as it was sent, float32 `[height, width]`.

        As the checkpoint's own processor makes them of the model's output.
        """
        outputs = SimpleNamespace(**{_ANGLE: None} | {name: value[None] for name, value in output.items()})
        size = image.height, image.width
        # The second argument has another name for each processor; it is the size of the image for all.
        (found,) = self._processor.post_process_depth_estimation(outputs, [size])
        return found["predicted_depth"].reshape(size).numpy()

    def check(self, output: dict[str, Tensor], image: ImageInputs) -> None:
        """Makes a map of an output.

        Raises:
            ModelRefused: that cannot be done with what is installed.
        """
        try:
            self.of(output, image)
        except (AttributeError, NameError, ImportError) as error:
            name = type(self._processor).__name__
            raise ModelRefused(
                f"{name} makes no depth map without libraries that are not installed: {error}"
            ) from error
