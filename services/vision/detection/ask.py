"""The request and result of DetectObjects as plain values, free of torch and protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.engine.labels.label_scores import LabelScore
from services.media.ask import MediaInput


@dataclass(frozen=True)
class DetectAsk:
    """A request to detect objects, not validated yet. Without `labels`, the model's own classes are meant."""

    input: MediaInput
    labels: Sequence[str]
    min_score: float | None
    """In [0, 1]; None: the model's default."""
    top_k: int | None
    """The most objects of one image; None: no limit."""


@dataclass(frozen=True)
class DetectedObject:
    """One object and its box, clipped to the image."""

    label: LabelScore
    box: tuple[float, float, float, float]
    """`(x_min, y_min, x_max, y_max)` in pixels of the image as it was sent."""


@dataclass(frozen=True)
class DetectedObjects:
    """The objects of one image, the highest score first, and the size of the image in pixels."""

    objects: Sequence[DetectedObject]
    width: int
    height: int
