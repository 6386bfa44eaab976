"""Loads a vision model and makes its pipeline and verbs."""

from collections.abc import Callable, Sequence
from functools import partial

from transformers import (
    MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING,
    AutoModel,
    AutoModelForDepthEstimation,
    AutoModelForImageClassification,
    AutoModelForImageToImage,
    AutoModelForZeroShotImageClassification,
)

from sensorium.v1 import models_pb2 as pb
from services.engine.batching.pipeline import Pipeline
from services.engine.checkpoint import Checkpoint, ModelRefused, read_config, refusals
from services.engine.images.bands import compute_by_bands
from services.engine.images.depth import DepthMaps
from services.engine.images.loading import LoadedVisionModel, load_vision_model
from services.engine.images.reader import ImageReader
from services.engine.images.transformation import Transformation
from services.engine.images.vectors import POOLERS, compute_vectors
from services.engine.joint import JointModel
from services.engine.media.image import ImageLimits
from services.engine.metrics import EngineMetrics
from services.media.classifier import AnyLabelClassifier
from services.media.embedder import MediaEmbedder
from services.plain_service import PlainService
from services.vision import finding_model as finding
from services.vision.classify_image import compute_logits, own_labels
from services.vision.config import VisionSettings
from services.vision.depth.estimate_depth import DepthEstimator
from services.vision.task import VisionTask
from services.vision.transformation.transform_image import ImageTransformer
from services.vision.verb_set import VisionVerbs
from services.vision.workbench import Workbench

_SENTENCE = "This is a photo of {}."
"""Default hypothesis template: the sentence that labels of a request are put into."""

Served = tuple[Pipeline, VisionVerbs, Sequence[pb.Task.ValueType]]


def load_vision_service(
    checkpoint: Checkpoint,
    task: VisionTask,
    settings: VisionSettings,
    metrics: EngineMetrics,
    warming: Callable[[], None],
) -> PlainService:
    """Loads a model for one task and warms it up.

    `warming` is called between the two.

    Raises:
        ModelRefused: the checkpoint cannot be served for this task; the message says why.
    """
    with metrics.loading("load"):
        loaded = _LOADERS[task](checkpoint)
    warming()
    with metrics.loading("warm_up"):
        pixels = settings.image_pixels
        if task is VisionTask.TRANSFORM:
            pixels = min(pixels, settings.transform_pixels)
        reader = ImageReader(loaded.processor, ImageLimits(settings.media_bytes, pixels))
        pipeline, verbs, tasks = _MAKERS[task](Workbench(loaded, reader, settings, metrics))
    limits = pb.ModelLimits(
        media_bytes=settings.media_bytes, image_pixel_count=pixels, context_token_count=loaded.context_tokens
    )
    return PlainService(loaded, pipeline, verbs, tasks, limits, settings.max_batch_images)


def _comparing(bench: Workbench) -> Served:
    """Serves a joint image and text model (CLIP, SigLIP). It gets both of its tasks, whichever was chosen."""
    joint, image = JointModel(bench.loaded), bench.noise_image
    joint.check(image.tensors, bench.loaded)
    pipeline = bench.pipeline(joint.compute, [image, joint.read("a photo", field="")])
    verbs = VisionVerbs(
        classifier=AnyLabelClassifier(pipeline, joint, bench.images, _SENTENCE),
        embedder=MediaEmbedder(pipeline, bench.images, len(bench.output_of(joint.compute, image)["vector"]), joint),
    )
    return pipeline, verbs, [pb.TASK_ZERO_SHOT_CLASSIFY_IMAGE, pb.TASK_EMBED_IMAGE]


def _embedding(bench: Workbench) -> Served:
    if bench.loaded.tokenizer is not None:
        return _comparing(bench)
    compute = partial(compute_vectors, bench.loaded)
    pipeline = bench.pipeline(compute)
    width = len(bench.output_of(compute, bench.noise_image)["vector"])
    verbs = VisionVerbs(embedder=MediaEmbedder(pipeline, bench.images, width))
    return pipeline, verbs, [pb.TASK_EMBED_IMAGE]


def _classifying(bench: Workbench) -> Served:
    compute, loaded = partial(compute_logits, bench.loaded), bench.loaded
    pipeline = bench.pipeline(compute)
    count = len(bench.output_of(compute, bench.noise_image)["logits"])
    if count != len(loaded.labels):  # PVT has a second label count in its configuration, which may differ
        raise ModelRefused(
            f"{loaded.architecture} gives {count} scores, and its configuration names {len(loaded.labels)} labels: "
            "id2label in config.json has to name each, and only those."
        )
    return pipeline, VisionVerbs(classifier=own_labels(pipeline, loaded, bench.images)), [pb.TASK_CLASSIFY_IMAGE]


def _estimating_depth(bench: Workbench) -> Served:
    maps, image = DepthMaps(bench.loaded), bench.noise_image
    pipeline = bench.pipeline(maps.compute)
    maps.check(bench.output_of(maps.compute, image), image)
    estimator = DepthEstimator(pipeline, maps, bench.images, bench.room)
    return pipeline, VisionVerbs(depth_estimator=estimator), [pb.TASK_ESTIMATE_DEPTH]


def _transforming(bench: Workbench) -> Served:
    transformation, image = Transformation(bench.loaded), bench.noise_image
    pipeline = bench.pipeline(transformation.compute)
    compute_by_bands(bench.loaded, lambda: list(bench.output_of(transformation.compute, image).values()))
    transformation.check(bench.output_of(transformation.compute, image), image)
    transformer = ImageTransformer(pipeline, transformation, bench.images, bench.room)
    return pipeline, VisionVerbs(transformer=transformer), [pb.TASK_TRANSFORM_IMAGE]


def _load_embedding(checkpoint: Checkpoint) -> LoadedVisionModel:
    with refusals(checkpoint.source):
        compares = type(read_config(checkpoint)) in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING
    return load_vision_model(checkpoint, AutoModel, optional=() if compares else POOLERS, reads_text=compares)


_LOADERS: dict[VisionTask, Callable[[Checkpoint], LoadedVisionModel]] = {
    VisionTask.CLASSIFY: partial(load_vision_model, kind=AutoModelForImageClassification),
    VisionTask.ZERO_SHOT_CLASSIFY: partial(
        load_vision_model, kind=AutoModelForZeroShotImageClassification, reads_text=True
    ),
    VisionTask.ESTIMATE_DEPTH: partial(load_vision_model, kind=AutoModelForDepthEstimation),
    VisionTask.TRANSFORM: partial(load_vision_model, kind=AutoModelForImageToImage),
    VisionTask.EMBED: _load_embedding,
    **finding.LOADERS,
}
_MAKERS: dict[VisionTask, Callable[[Workbench], Served]] = {
    VisionTask.CLASSIFY: _classifying,
    VisionTask.ZERO_SHOT_CLASSIFY: _comparing,
    VisionTask.ESTIMATE_DEPTH: _estimating_depth,
    VisionTask.TRANSFORM: _transforming,
    VisionTask.EMBED: _embedding,
    **finding.MAKERS,
}
"""For each task, makes the pipeline and the verbs from a loaded model."""
