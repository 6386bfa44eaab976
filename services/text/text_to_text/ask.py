"""The requests of the verbs Summarize and Translate, as plain values, free of torch and protobuf."""

from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions
from services.engine.language.texts import Truncation


@dataclass(frozen=True)
class TextsAsk:
    """A request to summarize or translate texts, not validated yet; `violations` hold what its conversion found."""

    texts: list[str]
    batched: bool = True
    """Whether the texts came as `texts`, rather than one as `text`."""
    instruction: str | None = None
    source_language: str = ""
    target_language: str = ""
    truncation: Truncation = Truncation.NONE
    options: GenerationOptions = field(default_factory=GenerationOptions)
    delivered: tuple[DeliveredTokens, ...] = ()
    deadline: float | None = None
    """By `time.monotonic`."""
    violations: tuple[Violation, ...] = ()

    def field_of(self, index: int) -> str:
        """Returns the name of a text in violations."""
        return f"texts[{index}]" if self.batched else "text"
