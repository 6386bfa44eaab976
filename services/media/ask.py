"""What passes between servicers and verbs of images and of recordings alike, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.labels.label_scores import LabelScore
from services.sent_media import SentMedia


@dataclass(frozen=True)
class MediaInput:
    """What every request with images or recordings has: them, a deadline, and what its conversion found wrong."""

    media: Sequence[SentMedia]
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class ClassifyAsk:
    """A wish for labels, unchecked. Without labels of its own it wants the model's."""

    input: MediaInput
    labels: Sequence[str]
    hypothesis_template: str | None
    multi_label: bool | None
    """None: as the model was trained."""
    top_k: int | None
    raw_scores: bool


Labelled = list[LabelScore]
"""The labels of one image or recording, the highest score first."""


@dataclass(frozen=True)
class EmbedAsk:
    """A wish for vectors, unchecked."""

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
