"""What the verbs of every task are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from services.engine.acceleration.trial import try_out
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher, BatchRunner
from services.engine.batching.job import Item
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

_DRAWN = (96, 128)
"""Height and width of the image that a model is tried with."""


@dataclass(frozen=True)
class Workbench:
    """A loaded model with what reads images for it."""

    loaded: LoadedVisionModel
    reader: ImageReader
    settings: VisionSettings
    metrics: EngineMetrics

    def pipeline(self, compute: Compute, probes: Sequence[ModelInputs] | None = None) -> Pipeline:
        """Returns the way through the model, made faster where it then computes the same. There is one for each model.

        `probes` are what it is tried with, each by itself; an image unless given.

        Raises:
            ModelRefused: the model fails on them, or does not answer them the same way twice.
        """
        runner = ImageRunner(self.loaded, compute)

        def run() -> list[Tensor]:
            outputs = [runner.compute([probe.tensors, probe.tensors]) for probe in probes or [self.drawn()]]
            return [value for output in outputs for value in output.values()]

        return self.pipeline_of(runner, run)

    def pipeline_of(self, runner: BatchRunner, run: Callable[[], Sequence[Tensor]]) -> Pipeline:
        """Returns the way through the model by a runner of its own, as `pipeline` does.

        `run` returns what the runner makes of two equal items side by side, `[2, ...]` each.
        """
        try_out(self.loaded, run, "image")
        settings = self.settings
        admission = BatchAdmission(
            QueueLimits(settings.max_queued_requests, settings.max_queued_images), unit="images of 224 × 224 pixels"
        )
        limits = BatchLimits(items=settings.max_batch_images, length=settings.max_batch_images)
        wait = settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))

    def drawn(self) -> ImageInputs:
        """Returns an image of noise: nothing in it is alike, so that no two places compute the same.

        Raises:
            ModelRefused: the processor makes nothing of it.
        """
        height, width = _DRAWN
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        try:
            return self.reader.process(Image.fromarray(pixels))
        except ImageRefused as refused:
            raise ModelRefused(f"The processor of {self.loaded.architecture} fails: an image {refused}.") from refused

    def tried(self, compute: Compute, image: ImageInputs) -> dict[str, Tensor]:
        """Returns the output for an image, as ImageRunner gives it."""
        (output,) = ImageRunner(self.loaded, compute).run([Item(image)])
        return output

    @property
    def images(self) -> ImageList:
        """The images of a request."""
        settings = self.settings
        return ImageList(self.reader, settings.max_batch_items, settings.max_queued_images, settings.max_batch_images)

    @property
    def room(self) -> Room:
        """What fits into a response."""
        return Room(self.settings.message_bytes)
