"""What passes between the servicer and the verb DetectObjects, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.engine.labels.label_scores import LabelScore
from services.media.ask import MediaInput


@dataclass(frozen=True)
class DetectAsk:
    """A wish for objects in images, unchecked. Without labels of its own it wants the model's classes."""

    input: MediaInput
    labels: Sequence[str]
    min_score: float | None
    top_k: int | None


@dataclass(frozen=True)
class DetectedObject:
    """One object with where it is, cut to the image."""

    label: LabelScore
    box: tuple[float, float, float, float]
    """Left, upper, right and lower edge in pixels."""


@dataclass(frozen=True)
class DetectedObjects:
    """The objects of one image, the highest score first."""

    objects: Sequence[DetectedObject]
    width: int
    height: int
