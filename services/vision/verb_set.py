"""The interfaces of the vision verbs, as the servicer calls them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.engine.batching.answer import Answer
from services.media.ask import ClassifyAsk, EmbedAsk, Embedded, Labelled
from services.vision.depth.ask import Depth, DepthAsk
from services.vision.detection.ask import DetectAsk, DetectedObjects
from services.vision.segmentation.ask import SegmentAsk, SegmentedImage
from services.vision.transformation.ask import NewImage, TransformAsk


class ImageClassifier(Protocol):
    """The verb ClassifyImage."""

    @property
    def takes_labels(self) -> bool:
        """True if each request must bring labels; False if the model has its own."""
        ...

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Labelled]]:
        """Returns the labels of each image."""
        ...


class ImageEmbedder(Protocol):
    """The verb EmbedImage."""

    async def embed(self, ask: EmbedAsk) -> Answer[Embedded]:
        """Returns the vectors of the images and texts."""
        ...


class DepthEstimator(Protocol):
    """The verb EstimateDepth."""

    async def estimate(self, ask: DepthAsk) -> Answer[Depth]:
        """Returns the depth of each pixel of the image."""
        ...


class ImageTransformer(Protocol):
    """The verb TransformImage."""

    async def transform(self, ask: TransformAsk) -> Answer[NewImage]:
        """Returns the new image."""
        ...


class ObjectDetector(Protocol):
    """The verb DetectObjects."""

    @property
    def takes_labels(self) -> bool:
        """True if each request must bring labels; False if the model has its own."""
        ...

    async def detect(self, ask: DetectAsk) -> Answer[Sequence[DetectedObjects]]:
        """Returns the objects of each image."""
        ...


class ImageSegmenter(Protocol):
    """The verb SegmentImage."""

    async def segment(self, ask: SegmentAsk) -> Answer[SegmentedImage]:
        """Returns the regions of the image."""
        ...


@dataclass(frozen=True)
class VisionVerbs:
    """The verbs of a loaded vision model; None for each that it does not support."""

    classifier: ImageClassifier | None = None
    embedder: ImageEmbedder | None = None
    depth_estimator: DepthEstimator | None = None
    transformer: ImageTransformer | None = None
    detector: ObjectDetector | None = None
    segmenter: ImageSegmenter | None = None
