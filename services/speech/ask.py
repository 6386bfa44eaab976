"""What passes between the servicer and the verbs, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.labels.label_scores import LabelScore
from services.sent_media import SentMedia


@dataclass(frozen=True)
class RecordingsInput:
    """What every request with recordings has: them, a deadline, and what its conversion found wrong."""

    recordings: Sequence[SentMedia]
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class ClassifyAsk:
    """A wish for labels of recordings, unchecked. Without labels of its own it wants the model's."""

    input: RecordingsInput
    labels: Sequence[str]
    hypothesis_template: str | None
    multi_label: bool | None
    """None: as the model was trained."""
    top_k: int | None
    raw_scores: bool


@dataclass(frozen=True)
class EmbedAsk:
    """A wish for vectors, unchecked."""

    input: RecordingsInput
    texts: Sequence[str]
    normalize: bool
    dimension_count: int | None


@dataclass(frozen=True)
class Embedded:
    """Vectors in float32, `[recordings, dimensions]` and `[texts, dimensions]`."""

    recordings: Any
    """A numpy array."""
    texts: Any
    """Another."""


Labelled = list[LabelScore]
"""The labels of one recording, the highest score first."""
