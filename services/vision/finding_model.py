"""Loaders and verbs of the tasks that find objects or regions in images."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import AutoModelForObjectDetection, AutoModelForZeroShotObjectDetection

from sensorium.v1 import models_pb2 as pb
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline
from services.engine.checkpoint import Checkpoint, read_config, refusals
from services.engine.images.loading import LoadedVisionModel, load_vision_model
from services.engine.images.runner import ImageRunner
from services.engine.segmentation.models import is_prompted, segmentation_class, segmentation_model
from services.engine.segmentation.prompt import Prompt
from services.engine.segmentation.prompts import PromptedInputs, PromptRunner
from services.vision.detection.detect_objects import ObjectDetector
from services.vision.detection.vocabularies import OwnClasses, Vocabulary, open_vocabulary
from services.vision.segmentation.segment_image import ImageSegmenter
from services.vision.segmentation.segment_prompted import PromptedSegmenter
from services.vision.task import VisionTask
from services.vision.verb_set import VisionVerbs
from services.vision.workbench import Workbench

Served = tuple[Pipeline, VisionVerbs, Sequence[pb.Task.ValueType]]


def _detecting(bench: Workbench) -> Served:
    pipeline, detector = _detector(bench, OwnClasses(bench.loaded), [])
    return pipeline, VisionVerbs(detector=detector), [pb.TASK_DETECT_OBJECTS]


def _detecting_by_labels(bench: Workbench) -> Served:
    pipeline, detector = _detector(bench, open_vocabulary(bench.loaded), ["cat", "dog"])
    return pipeline, VisionVerbs(detector=detector), [pb.TASK_ZERO_SHOT_DETECT_OBJECTS]


def _detector(bench: Workbench, vocabulary: Vocabulary, labels: Sequence[str]) -> tuple[Pipeline, ObjectDetector]:
    """Returns the detector and its pipeline. The model is tried out with these labels; none for its own classes."""
    sought = vocabulary.sought(labels, [])
    assert sought is not None
    runner = ImageRunner(bench.loaded, vocabulary.compute)
    tensors = bench.noise_image.tensors | sought.tensors

    def run() -> list[Tensor]:
        # Sorted, because the order of the queries can depend on rounding in the last bit.
        return [value.flatten(1).sort(1).values for value in runner.compute([tensors, tensors]).values()]

    pipeline = bench.pipeline_of(runner, run)
    return pipeline, ObjectDetector(pipeline, vocabulary, bench.images, bench.room)


def _segmenting(bench: Workbench) -> Served:
    loaded, most_bytes = bench.loaded, bench.settings.message_bytes
    if is_prompted(loaded.config):
        pipeline = _prompted_pipeline(bench)
        segmenter = PromptedSegmenter(pipeline, loaded.processor, bench.images, most_bytes)
    else:
        model = segmentation_model(loaded)
        pipeline = bench.pipeline(model.compute, [model.inputs(bench.noise_image, mode) for mode in model.modes])
        segmenter = ImageSegmenter(pipeline, model, bench.images, loaded.config.id2label, most_bytes)
    return pipeline, VisionVerbs(segmenter=segmenter), [pb.TASK_SEGMENT_IMAGE]


def _prompted_pipeline(bench: Workbench) -> Pipeline:
    runner, image = PromptRunner(bench.loaded), bench.noise_image
    probe = PromptedInputs(image.tensors, [Prompt([(1, 1)], [True])], (image.height, image.width), all_candidates=True)

    def run() -> list[Tensor]:
        ((first,), (second,)) = runner.compute([Item(probe), Item(probe)])
        return [torch.stack(pair) for pair in zip(first, second, strict=True)]

    return bench.pipeline_of(runner, run)


def _load_segmenter(checkpoint: Checkpoint) -> LoadedVisionModel:
    with refusals(checkpoint.source):
        config = read_config(checkpoint)
    return load_vision_model(checkpoint, segmentation_class(config), reads_text=config.model_type == "oneformer")


LOADERS: dict[VisionTask, Callable[[Checkpoint], LoadedVisionModel]] = {
    VisionTask.DETECT: partial(load_vision_model, kind=AutoModelForObjectDetection),
    VisionTask.ZERO_SHOT_DETECT: partial(load_vision_model, kind=AutoModelForZeroShotObjectDetection, reads_text=True),
    VisionTask.SEGMENT: _load_segmenter,
}
MAKERS: dict[VisionTask, Callable[[Workbench], Served]] = {
    VisionTask.DETECT: _detecting,
    VisionTask.ZERO_SHOT_DETECT: _detecting_by_labels,
    VisionTask.SEGMENT: _segmenting,
}
"""For each task, makes the pipeline and the verbs from a loaded model."""
