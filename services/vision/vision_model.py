"""A vision model, in memory and answering."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
)

from sensorium.v1 import models_pb2 as pb
from services.batched_model import BatchedModel
from services.engine.acceleration import accelerate
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher, BatchRunner
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.engine.images.joint import JointModel
from services.engine.images.loading import LoadedVisionModel, load_vision_model
from services.engine.images.reader import ImageInputs, ImageReader, ModelInputs
from services.engine.images.runner import Compute, ImageRunner
from services.engine.images.vectors import POOLERS, compute_vectors
from services.engine.media.image import ImageLimits
from services.engine.metrics import EngineMetrics
from services.vision import finding_model as finding
from services.vision.classify_image import ImageClassifier, compute_logits
from services.vision.config import VisionSettings
from services.vision.embed_image import ImageEmbedder
from services.vision.image_list import ImageList
from services.vision.task import VisionTask
from services.vision.verb_set import VisionVerbs
from services.vision.zero_shot_classify import ZeroShotClassifier

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
        """Returns the way through the model by a runner of its own.

        `run` is what the model is tried with: it returns what it makes of two equal items, `[2, ...]` each.

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
            for value in run():
                if not torch.allclose(value[0], value[1], rtol=1e-2, atol=1e-2, equal_nan=True):
                    raise ModelRefused(
                        f"{self.loaded.architecture} answers the same image once this way, once another."
                    )
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

    def width(self, compute: Compute) -> int:
        """Returns how many numbers the vectors that `compute` makes of images have."""
        return ImageRunner(self.loaded, compute).compute([self.drawn().tensors])["vector"].shape[1]

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
    limits = pb.ModelLimits(
        media_bytes=settings.media_bytes, image_pixel_count=pixels, context_token_count=loaded.context_tokens
    )
    return BatchedModel(loaded, pipeline, verbs, tasks, limits)


def _comparing(bench: Workbench) -> Served:
    """Returns what a model of images and texts does, whichever of its two tasks was asked for."""
    joint, drawn = JointModel(bench.loaded), bench.drawn()
    joint.check(drawn, bench.loaded)
    pipeline = bench.pipeline(joint.compute, [drawn, joint.read("a photo", field="")])
    verbs = VisionVerbs(
        classifier=ZeroShotClassifier(pipeline, joint, bench.images),
        embedder=ImageEmbedder(pipeline, bench.images, bench.width(joint.compute), joint),
    )
    return pipeline, verbs, [pb.TASK_ZERO_SHOT_CLASSIFY_IMAGE, pb.TASK_EMBED_IMAGE]


def _embedding(bench: Workbench) -> Served:
    if bench.loaded.tokenizer is not None:
        return _comparing(bench)
    compute = partial(compute_vectors, bench.loaded)
    pipeline = bench.pipeline(compute)
    return (
        pipeline,
        VisionVerbs(embedder=ImageEmbedder(pipeline, bench.images, bench.width(compute))),
        [pb.TASK_EMBED_IMAGE],
    )


def _classifying(bench: Workbench) -> Served:
    pipeline = bench.pipeline(partial(compute_logits, bench.loaded))
    classifier = ImageClassifier(pipeline, bench.loaded, bench.images)
    return pipeline, VisionVerbs(classifier=classifier), [pb.TASK_CLASSIFY_IMAGE]


def _load_embedding(checkpoint: Checkpoint) -> LoadedVisionModel:
    with refusals(checkpoint.source):
        compares = type(read_config(checkpoint)) in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING
    return load_vision_model(checkpoint, AutoModel, optional=() if compares else POOLERS, reads_text=compares)


_LOADERS: dict[VisionTask, Callable[[Checkpoint], LoadedVisionModel]] = {
    VisionTask.CLASSIFY: partial(load_vision_model, kind=AutoModelForImageClassification),
    VisionTask.ZERO_SHOT_CLASSIFY: partial(
        load_vision_model, kind=AutoModelForZeroShotImageClassification, reads_text=True
    ),
    VisionTask.EMBED: _load_embedding,
    **finding.LOADERS,
}
_MAKERS: dict[VisionTask, Callable[[Workbench], Served]] = {
    VisionTask.CLASSIFY: _classifying,
    VisionTask.ZERO_SHOT_CLASSIFY: _comparing,
    VisionTask.EMBED: _embedding,
    **finding.MAKERS,
}
"""Return the verbs of a task, and what they run on."""
