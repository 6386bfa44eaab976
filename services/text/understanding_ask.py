"""What passes between the servicer and the verbs that read once, free of torch and of protobuf."""

from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.texts import Truncation


@dataclass(frozen=True)
class TextsInput:
    """What every such request has: texts, a deadline, and what its conversion found wrong."""

    texts: list[str]
    truncation: Truncation
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class EmbedAsk:
    """A wish for vectors, unchecked. `pooling` is a name of the engine's Pooling, or None for the model's own."""

    input: TextsInput
    prompt_name: str | None
    prompt: str | None
    pooling: str | None
    normalize: bool | None
    dimension_count: int | None


@dataclass(frozen=True)
class Vectors:
    """What one text is embedded as: `[vectors, dimensions]` in float32, row by row."""

    values: Any
    """A numpy array."""

    @property
    def count(self) -> int:
        """How many vectors."""
        return len(self.values)
