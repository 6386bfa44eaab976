"""What passes between the servicer and the verbs, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.labels.label_scores import LabelScore
from services.sent_media import SentMedia


@dataclass(frozen=True)
class ImagesInput:
    """What every request has: images, a deadline, and what its conversion found wrong."""

    images: Sequence[SentMedia]
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class ClassifyAsk:
    """A wish for labels of images, unchecked. Without labels of its own it wants the model's."""

    input: ImagesInput
    labels: Sequence[str]
    hypothesis_template: str | None
    multi_label: bool | None
    """None: as the model was trained."""
    top_k: int | None
    raw_scores: bool


Labelled = list[LabelScore]
"""The labels of one image, the highest score first."""


@dataclass(frozen=True)
class EmbedAsk:
    """A wish for vectors, unchecked."""

    input: ImagesInput
    texts: Sequence[str]
    normalize: bool
    dimension_count: int | None


@dataclass(frozen=True)
class Embedded:
    """Vectors in float32, `[images, dimensions]` and `[texts, dimensions]`."""

    images: Any
    """A numpy array."""
    texts: Any
    """Another."""


@dataclass(frozen=True)
class DepthAsk:
    """A wish for the depths of one image, unchecked."""

    input: ImagesInput
    as_floats: bool
    """As numbers instead of as a PNG."""


@dataclass(frozen=True)
class Depth:
    """The depths of an image, as numbers, or as a PNG whose value 0 stands for `offset`, and each step for `scale`."""

    data: bytes
    as_floats: bool
    scale: float
    offset: float
    least: float
    greatest: float
    kind: str
    """A name of the contract's DepthKind, without its prefix."""
    width: int
    height: int


@dataclass(frozen=True)
class TransformAsk:
    """A wish for a new image made of one image, unchecked."""

    input: ImagesInput
    media_type: str | None
    """Of the new image."""


@dataclass(frozen=True)
class NewImage:
    """The file of an image that a model made."""

    data: bytes
    media_type: str
    width: int
    height: int
