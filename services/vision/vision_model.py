"""A vision model, in memory and answering."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoModelForZeroShotObjectDetection,
)

from sensorium.v1 import models_pb2 as pb
from services.batched_model import BatchedModel
from services.engine.acceleration import accelerate
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher, BatchRunner
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.engine.images.loading import LoadedVisionModel, load_vision_model
from services.engine.images.reader import ImageInputs, ImageReader, ModelInputs
from services.engine.images.runner import Compute, ImageRunner
from services.engine.media.image import ImageLimits
from services.engine.metrics import EngineMetrics
from services.engine.segmentation.models import is_prompted, segmentation_class, segmentation_model
from services.engine.segmentation.prompt import Prompt
from services.engine.segmentation.prompts import PromptedInputs, PromptRunner
from services.vision.classify_image import ImageClassifier, compute_logits
from services.vision.config import VisionSettings
from services.vision.detect_objects import ObjectDetector
from services.vision.image_list import ImageList
from services.vision.segment_image import ImageSegmenter
from services.vision.segment_prompted import PromptedSegmenter
from services.vision.task import VisionTask
from services.vision.verb_set import VisionVerbs
from services.vision.vocabularies import OwnClasses, open_vocabulary

_LONGEST_SIDE = 32_767
_PROBE_PIXELS = (96, 128)


@dataclass(frozen=True)
class Workbench:
    """What the verbs of every task are made of."""

    loaded: LoadedVisionModel
    reader: ImageReader
    settings: VisionSettings
    metrics: EngineMetrics

    def pipeline(self, compute: Compute, probes: Sequence[ModelInputs] | None = None) -> Pipeline:
        """Returns the way through the model, made faster where it then computes the same. There is one for each model.

        `probes` are what it is tried with, each by itself; an image unless given.

        Raises:
            ModelRefused: the model fails on them.
        """
        runner = ImageRunner(self.loaded, compute)

        def run() -> list[Tensor]:
            outputs = [runner.compute([probe.tensors, probe.tensors]) for probe in probes or [self.drawn()]]
            return [value for output in outputs for value in output.values()]

        return self.pipeline_of(runner, run)

    def pipeline_of(self, runner: BatchRunner, run: Callable[[], Sequence[Tensor]]) -> Pipeline:
        """Returns the way through the model by a runner of its own; `run` is what the model is tried with.

        Raises:
            ModelRefused: the model fails on it.
        """
        settings = self.settings
        self._accelerate(run)
        admission = BatchAdmission(
            QueueLimits(settings.max_queued_requests, settings.max_queued_images), unit="images of 224 × 224 pixels"
        )
        limits = BatchLimits(items=settings.max_batch_images, length=settings.max_batch_images)
        wait = settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))

    def _accelerate(self, run: Callable[[], Sequence[Tensor]]) -> None:
        try:
            accelerate(self.loaded, run)
        except (TypeError, ValueError, IndexError) as error:
            raise ModelRefused(
                f"{self.loaded.architecture} cannot be run on its processor's images: {error}"
            ) from error

    def drawn(self) -> ImageInputs:
        """Returns an image of noise: nothing in it is alike, so that no two places compute the same."""
        height, width = _PROBE_PIXELS
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return self.reader.process(Image.fromarray(pixels))

    @property
    def images(self) -> ImageList:
        """The images of a request."""
        settings = self.settings
        return ImageList(self.reader, settings.max_batch_items, settings.max_queued_images, settings.max_batch_images)


Served = tuple[Pipeline, VisionVerbs, Sequence[pb.Task.ValueType]]


def load_vision_service(
    checkpoint: Checkpoint,
    task: VisionTask,
    settings: VisionSettings,
    metrics: EngineMetrics,
    warming: Callable[[], None],
) -> BatchedModel:
    """Loads a model for one task. Raises ModelRefused."""
    began = time.monotonic()
    loaded = _LOADERS[task](checkpoint)
    metrics.model_load_seconds.labels("load").set(time.monotonic() - began)
    warming()
    began = time.monotonic()
    pixels = (
        min(settings.image_pixels, settings.transform_pixels)
        if task is VisionTask.TRANSFORM
        else (settings.image_pixels)
    )
    reader = ImageReader(loaded.processor, ImageLimits(settings.media_bytes, pixels, _LONGEST_SIDE))
    pipeline, verbs, tasks = _MAKERS[task](Workbench(loaded, reader, settings, metrics))
    metrics.model_load_seconds.labels("warm_up").set(time.monotonic() - began)
    limits = pb.ModelLimits(media_bytes=settings.media_bytes, image_pixel_count=pixels)
    return BatchedModel(loaded, pipeline, verbs, tasks, limits)


def _classifying(bench: Workbench) -> Served:
    pipeline = bench.pipeline(partial(compute_logits, bench.loaded))
    classifier = ImageClassifier(pipeline, bench.loaded, bench.images)
    return pipeline, VisionVerbs(classifier=classifier), [pb.TASK_CLASSIFY_IMAGE]


def _detecting(bench: Workbench) -> Served:
    classes = OwnClasses(bench.loaded)
    pipeline = bench.pipeline(classes.compute)
    detector = ObjectDetector(pipeline, classes, bench.images)
    return pipeline, VisionVerbs(detector=detector), [pb.TASK_DETECT_OBJECTS]


def _detecting_by_labels(bench: Workbench) -> Served:
    words = open_vocabulary(bench.loaded)
    probe = words.sought(["cat", "dog"], [])
    assert probe is not None
    pipeline = bench.pipeline(words.compute, [ModelInputs(bench.drawn().tensors | probe.tensors)])
    detector = ObjectDetector(pipeline, words, bench.images)
    return pipeline, VisionVerbs(detector=detector), [pb.TASK_ZERO_SHOT_DETECT_OBJECTS]


def _segmenting(bench: Workbench) -> Served:
    loaded, most_bytes = bench.loaded, bench.settings.message_bytes
    if is_prompted(loaded.config):
        runner = PromptRunner(loaded)
        image = bench.drawn()
        item = Item(PromptedInputs(image.tensors, [Prompt([(1, 1)], [True])], (image.height, image.width), True))
        pipeline = bench.pipeline_of(runner, lambda: [part for pair in runner.run([item])[0] for part in pair])
        segmenter = PromptedSegmenter(pipeline, loaded.processor, bench.images, most_bytes)
    else:
        model = segmentation_model(loaded)
        pipeline = bench.pipeline(model.compute, [model.inputs(bench.drawn(), mode) for mode in model.modes])
        segmenter = ImageSegmenter(pipeline, model, bench.images, loaded.config.id2label, most_bytes)
    return pipeline, VisionVerbs(segmenter=segmenter), [pb.TASK_SEGMENT_IMAGE]


def _load_segmenter(checkpoint: Checkpoint) -> LoadedVisionModel:
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
    return load_vision_model(checkpoint, segmentation_class(config), reads_text=config.model_type == "oneformer")


_LOADERS: dict[VisionTask, Callable[[Checkpoint], LoadedVisionModel]] = {
    VisionTask.CLASSIFY: partial(load_vision_model, kind=AutoModelForImageClassification),
    VisionTask.DETECT: partial(load_vision_model, kind=AutoModelForObjectDetection),
    VisionTask.ZERO_SHOT_DETECT: partial(load_vision_model, kind=AutoModelForZeroShotObjectDetection, reads_text=True),
    VisionTask.SEGMENT: _load_segmenter,
}
_MAKERS: dict[VisionTask, Callable[[Workbench], Served]] = {
    VisionTask.CLASSIFY: _classifying,
    VisionTask.DETECT: _detecting,
    VisionTask.ZERO_SHOT_DETECT: _detecting_by_labels,
    VisionTask.SEGMENT: _segmenting,
}
"""Return the verbs of a task, and what they run on."""
