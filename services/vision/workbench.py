"""The Workbench: the parts that the verbs of every vision task are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from torch import Tensor

from services.engine.acceleration.trial import try_out
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher, BatchRunner
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import ModelRefused
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs, ImageReader, ModelInputs
from services.engine.images.runner import Compute, ImageRunner
from services.engine.media.refusal import ImageRefused
from services.engine.metrics import EngineMetrics
from services.vision.config import VisionSettings
from services.vision.image_list import ImageList
from services.vision.room import Room

_TEST_SIZE = (96, 128)
"""Height and width of the test image that a model is tried out with at load."""


@dataclass(frozen=True)
class Workbench:
    """A loaded model, the reader of its images, and the process's settings and metrics."""

    loaded: LoadedVisionModel
    reader: ImageReader
    settings: VisionSettings
    metrics: EngineMetrics

    def pipeline(self, compute: Compute, probes: Sequence[ModelInputs] | None = None) -> Pipeline:
        """Returns the pipeline of the model, after trying the model out and accelerating it. Call it once for a model.

        The model is tried with each of `probes` separately; by default with one image of noise. An acceleration is kept
        only if the outputs stay the same.

        Raises:
            ModelRefused: the model fails on a probe, or gives different outputs for two equal ones.
        """
        runner = ImageRunner(self.loaded, compute)

        def run() -> list[Tensor]:
            outputs = [runner.compute([probe.tensors, probe.tensors]) for probe in probes or [self.noise_image]]
            return [value for output in outputs for value in output.values()]

        return self.pipeline_of(runner, run)

    def pipeline_of(self, runner: BatchRunner, run: Callable[[], Sequence[Tensor]]) -> Pipeline:
        """Returns the pipeline like `pipeline`, but with a given runner.

        `run` returns the runner's outputs for a batch of two equal items, each `[2, ...]`.
        """
        try_out(self.loaded, run, "image")
        settings = self.settings
        admission = BatchAdmission(
            QueueLimits(settings.max_queued_requests, settings.max_queued_images), unit="images of 224 × 224 pixels"
        )
        limits = BatchLimits(items=settings.max_batch_images, length=settings.max_batch_images)
        wait = settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))

    @cached_property
    def noise_image(self) -> ImageInputs:
        """The model's inputs for an image of noise: no two parts are equal, so that no error can hide.

        Raises:
            ModelRefused: the image processor fails on it.
        """
        height, width = _TEST_SIZE
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        try:
            return self.reader.process(Image.fromarray(pixels))
        except ImageRefused as refused:
            raise ModelRefused(f"The processor of {self.loaded.architecture} fails: an image {refused}.") from refused

    def output_of(self, compute: Compute, image: ImageInputs) -> dict[str, Tensor]:
        """Returns the model's output for one image, without a batch dimension."""
        outputs = ImageRunner(self.loaded, compute).compute([image.tensors])
        return {name: value[0] for name, value in outputs.items()}

    @property
    def images(self) -> ImageList:
        """What reads the images of a request, with the limits of the settings."""
        settings = self.settings
        return ImageList(self.reader, settings.max_batch_items, settings.max_queued_images, settings.max_batch_images)

    @property
    def room(self) -> Room:
        """The size limit of a response."""
        return Room(self.settings.message_bytes)
