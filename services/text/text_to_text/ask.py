"""The requests of Summarize and Translate as plain values, free of torch and protobuf."""

from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions
from services.engine.language.texts import Truncation


@dataclass(frozen=True)
class TextsAsk:
    """A request to summarize or translate texts. Not validated yet, except for `violations` from its conversion."""

    texts: list[str]
    batched: bool = True
    """Whether the request has the repeated field `texts`, not the single field `text`."""
    instruction: str | None = None
    source_language: str = ""
    target_language: str = ""
    truncation: Truncation = Truncation.NONE
    options: GenerationOptions = field(default_factory=GenerationOptions)
    delivered: tuple[DeliveredTokens, ...] = ()
    deadline: float | None = None
    """On the clock of `time.monotonic`; None: no deadline."""
    violations: tuple[Violation, ...] = ()

    def field_of(self, index: int) -> str:
        """Returns the field name of a text, for violations."""
        return f"texts[{index}]" if self.batched else "text"
