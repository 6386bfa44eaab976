"""Loads a multimodal model that answers without generating, and makes its pipeline and verb."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image
from torch import Tensor
from transformers import AutoModelForDocumentQuestionAnswering, AutoModelForVisualQuestionAnswering

from sensorium.v1 import models_pb2 as pb
from services.engine.acceleration.trial import try_out
from services.engine.admission import QueueLimits
from services.engine.batching.admission import BatchAdmission
from services.engine.batching.batcher import Batcher
from services.engine.batching.pipeline import Pipeline
from services.engine.batching.queue import BatchLimits
from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.engine.documents.page import PageReader
from services.engine.encoders.loading import encoder_context
from services.engine.encoders.windows import windows
from services.engine.images.loading import LoadedVisionModel, load_vision_model
from services.engine.images.reader import ImageInputs, ImageReader
from services.engine.images.runner import Compute, ImageRunner
from services.engine.media.image import ImageLimits
from services.engine.metrics import EngineMetrics
from services.image_field import ImageField
from services.multimodal.config import MultimodalSettings
from services.multimodal.reading.answer_document import DocumentReader, compute_spans
from services.multimodal.reading.answer_image import ImageQuestionAnswerer, QuestionReader, compute_answers
from services.multimodal.task import MultimodalTask
from services.multimodal.verb_set import MultimodalVerbs
from services.plain_service import PlainService

_TEST_SIZE = (96, 128)
"""Height and width of the test image that a model is tried out with at load."""
_WORDS = ["Invoice", "No.", "12-a", "Total:", "30.50", "due", "in", "May"]


@dataclass(frozen=True)
class _Workbench:
    """A loaded model, and the parts that its verb is made of."""

    loaded: LoadedVisionModel
    settings: MultimodalSettings
    metrics: EngineMetrics

    @property
    def field(self) -> ImageField:
        """What reads an image of a request, with the limits of the settings."""
        settings = self.settings
        limits = ImageLimits(settings.media_bytes, settings.image_pixels)
        return ImageField(ImageReader(self.loaded.processor, limits), settings.max_image_tiles)

    def noise_image(self) -> ImageInputs:
        """Returns the model's inputs for an image of noise: no two parts are equal, so that no error can hide."""
        height, width = _TEST_SIZE
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return self.field.reader.process(Image.fromarray(pixels))

    def pipeline(
        self, compute: Compute, tensors: dict[str, Tensor], limits: BatchLimits, admission: BatchAdmission
    ) -> Pipeline:
        """Returns the model's pipeline, after trying the model out on `tensors` and accelerating it.

        Raises:
            ModelRefused: the model fails, or gives different outputs for two equal inputs.
        """
        runner = ImageRunner(self.loaded, compute)
        try_out(self.loaded, lambda: list(runner.compute([tensors, tensors]).values()), "image")
        wait = self.settings.batch_wait_ms / 1000
        return Pipeline(Batcher(runner, limits, admission, self.metrics, wait_seconds=wait))


Served = tuple[Pipeline, MultimodalVerbs, int]
"""The model's pipeline, its verbs, and its context length in tokens."""


def load_reading_model(
    checkpoint: Checkpoint,
    task: MultimodalTask,
    settings: MultimodalSettings,
    metrics: EngineMetrics,
    warming: Callable[[], None],
) -> PlainService:
    """Loads a model for one task and warms it up; `warming` is called between the two.

    Raises:
        ModelRefused: the checkpoint cannot be served for this task; the message says why.
    """
    with metrics.loading("load"):
        if task not in _TASKS:
            raise ModelRefused(f"{checkpoint.source} writes nothing, so that --task {task.value} is not for it.")
        load, make, told = _TASKS[task]
        loaded = load(checkpoint)
    warming()
    with metrics.loading("warm_up"):
        pipeline, verbs, context = make(_Workbench(loaded, settings, metrics))
    limits = pb.ModelLimits(
        media_bytes=settings.media_bytes, image_pixel_count=settings.image_pixels, context_token_count=context
    )
    return PlainService(loaded, pipeline, verbs, [told], limits, settings.max_batch_images)


def _load_document_model(checkpoint: Checkpoint) -> LoadedVisionModel:
    with refusals(checkpoint.source):
        sees = read_config(checkpoint).model_type != "layoutlm"
    loaded = load_vision_model(checkpoint, AutoModelForDocumentQuestionAnswering, reads_text=True, reads_images=sees)
    if sees:
        loaded.processor.apply_ocr = False  # words come with the request
    return loaded


def _choosing(bench: _Workbench) -> Served:
    loaded, settings = bench.loaded, bench.settings
    questions, compute = QuestionReader(loaded), partial(compute_answers, loaded)
    probe = questions.read("what is it", bench.noise_image())
    limits = BatchLimits(items=settings.max_batch_images, length=settings.max_batch_images)
    queue = QueueLimits(settings.max_queued_requests, settings.max_queued_images)
    admission = BatchAdmission(queue, unit="images of 224 × 224 pixels")
    pipeline = bench.pipeline(compute, probe.tensors, limits, admission)
    answerer = ImageQuestionAnswerer(pipeline, questions, bench.field, loaded.labels)
    return pipeline, MultimodalVerbs(image_reader=answerer), loaded.context_tokens


def _finding(bench: _Workbench) -> Served:
    loaded, settings = bench.loaded, bench.settings
    assert loaded.tokenizer is not None
    context = encoder_context(loaded.model, loaded.config, loaded.tokenizer)
    reader = PageReader(loaded.tokenizer, context)
    page = reader.read("What is it?", _WORDS)
    (window, *_) = windows(page.whole, context, 0, 1)
    boxes = [(100 * i, 10, 100 * i + 90, 30 + i) for i in range(len(_WORDS))]
    tensors = {**reader.tensors(window, page, boxes), **bench.noise_image().tensors}
    limits = BatchLimits(length=settings.max_batch_tokens)
    admission = BatchAdmission(QueueLimits(settings.max_queued_requests, settings.max_queued_tokens))
    pipeline = bench.pipeline(partial(compute_spans, loaded), tensors, limits, admission)
    verb = DocumentReader(pipeline, reader, bench.field, settings.max_queued_tokens)
    return pipeline, MultimodalVerbs(document_reader=verb), context


_TASKS: dict[
    MultimodalTask,
    tuple[Callable[[Checkpoint], LoadedVisionModel], Callable[[_Workbench], Served], pb.Task.ValueType],
] = {
    MultimodalTask.ANSWER_IMAGE_QUESTION: (
        partial(load_vision_model, kind=AutoModelForVisualQuestionAnswering, reads_text=True),
        _choosing,
        pb.TASK_ANSWER_IMAGE_QUESTION,
    ),
    MultimodalTask.ANSWER_DOCUMENT_QUESTION: (_load_document_model, _finding, pb.TASK_ANSWER_DOCUMENT_QUESTION),
}
"""For each task: the loader, the maker of pipeline and verbs, and the task's name in the contract."""
