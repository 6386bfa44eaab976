"""Depth maps from the outputs of depth estimation models."""

from types import SimpleNamespace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs

_BY_MODEL_TYPE = {"glpn": "METRIC", "zoedepth": "METRIC", "depth_pro": "METRIC"}
"""Model types whose only head predicts metres."""
_BY_ESTIMATION_TYPE = {"metric": "METRIC", "relative": "INVERSE"}
"""By Depth Anything's `depth_estimation_type`. Its relative depth grows towards the camera: it is inverse."""
_FIELD_OF_VIEW = "field_of_view"
"""An additional output of Depth Pro, which its processor needs."""


class DepthMaps:
    """Makes depth maps from a model's outputs. `of` is thread-safe; `compute` belongs to the model's thread."""

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self._processor = loaded.processor
        config = loaded.config
        told = _BY_ESTIMATION_TYPE.get(getattr(config, "depth_estimation_type", ""))
        self.kind = told or _BY_MODEL_TYPE.get(config.model_type, "UNSPECIFIED")
        """A name of the contract's DepthKind, without its prefix."""
        self._votes = len(getattr(config, "bin_configurations", ())) > 1
        """Whether the images of a batch vote on one head for all of them: ZoeDepth has one for rooms, one for roads."""

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `predicted_depth`, `[images, height, width]`, and fields of view if it has any. For ImageRunner."""
        if not self._votes:
            return self._output(batch)
        rows = zip(*(value.split(1) for value in batch.values()), strict=True)
        alone = [self._output(dict(zip(batch, row, strict=True))) for row in rows]
        return {name: torch.cat([output[name] for output in alone]) for name in alone[0]}

    def _output(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        output = self._model(**batch)
        angles = getattr(output, _FIELD_OF_VIEW, None)
        return {"predicted_depth": output.predicted_depth} | ({} if angles is None else {_FIELD_OF_VIEW: angles})

    @torch.inference_mode()
    def of(self, output: dict[str, Tensor], image: ImageInputs) -> NDArray[Any]:
        """Returns the depth of each pixel of the image as it was sent: float32, `[height, width]`.

        The checkpoint's own processor computes it from the model's output for the image.
        """
        outputs = SimpleNamespace(**{_FIELD_OF_VIEW: None} | {name: value[None] for name, value in output.items()})
        size = image.height, image.width
        # Passed by position, because its name differs between processors; for all it is the size of the image.
        (found,) = self._processor.post_process_depth_estimation(outputs, [size])
        return found["predicted_depth"].reshape(size).numpy()

    def check(self, output: dict[str, Tensor], image: ImageInputs) -> None:
        """Makes a depth map as a test at load.

        Raises:
            ModelRefused: the processor needs a library that is not installed.
        """
        try:
            self.of(output, image)
        except (AttributeError, NameError, ImportError) as error:
            name = type(self._processor).__name__
            raise ModelRefused(
                f"{name} makes no depth map without libraries that are not installed: {error}"
            ) from error
