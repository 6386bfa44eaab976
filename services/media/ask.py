"""The requests and results of verbs for images and recordings, as plain values, free of torch and protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.labels.label_scores import LabelScore
from services.sent_media import SentMedia


@dataclass(frozen=True)
class MediaInput:
    """The common part of requests with media: the media, a deadline, and what the conversion found wrong."""

    media: Sequence[SentMedia]
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class ClassifyAsk:
    """A request for labels, not validated yet. Without `labels`, the model's own are meant."""

    input: MediaInput
    labels: Sequence[str]
    hypothesis_template: str | None
    multi_label: bool | None
    """Whether several labels may apply; None: as the model was trained."""
    top_k: int | None
    raw_scores: bool


Labelled = list[LabelScore]
"""The labels of one image or recording, the highest score first."""


@dataclass(frozen=True)
class EmbedAsk:
    """A request for vectors, not validated yet."""

    input: MediaInput
    texts: Sequence[str]
    normalize: bool
    dimension_count: int | None


@dataclass(frozen=True)
class Embedded:
    """Vectors in float32, `[images or recordings, dimensions]` and `[texts, dimensions]`."""

    media: Any
    """A numpy array."""
    texts: Any
    """Another."""
