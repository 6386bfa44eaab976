"""What passes between the servicer and the verbs Summarize and Translate, free of torch and of protobuf."""

from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions
from services.engine.language.texts import Truncation


@dataclass(frozen=True)
class TextsAsk:
    """One caller's wish to have something made of each of some texts, unchecked but for what its conversion found."""

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
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...] = ()

    def field_of(self, index: int) -> str:
        """Returns what a text is called in violations."""
        return f"texts[{index}]" if self.batched else "text"
