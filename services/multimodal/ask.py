"""What passes between the servicer and the verbs, free of torch and of protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions
from services.sent_media import SentMedia


@dataclass(frozen=True)
class CaptionAsk:
    """A wish for the description of an image, unchecked but for what its conversion found wrong."""

    image: SentMedia
    prompt: str | None
    options: GenerationOptions
    delivered: tuple[DeliveredTokens, ...] = ()
    deadline: float | None = None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class AnswerAsk:
    """A wish for answers to a question, unchecked but for what its conversion found wrong."""

    question: str
    answer_count: int | None = None
    """For models that choose their answers."""
    options: GenerationOptions | None = None
    """For models that generate; None if nothing was said."""
    delivered: tuple[DeliveredTokens, ...] = ()
    deadline: float | None = None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class ImageQuestionAsk(AnswerAsk):
    """A question about an image."""

    image: SentMedia = field(kw_only=True)


@dataclass(frozen=True)
class PlacedWord:
    """One word of a page."""

    text: str
    box: tuple[float, float, float, float] | None
    """Left, upper, right and lower edge; None if it was not sent."""


@dataclass(frozen=True)
class DocumentQuestionAsk(AnswerAsk):
    """A question about a page."""

    page: SentMedia | None = field(kw_only=True)
    words: Sequence[PlacedWord] = ()
    page_size: tuple[int, int] | None = None
    """Width and height in which the words' boxes are measured; None: those of the page's image."""
    max_answer_words: int | None = None


@dataclass(frozen=True)
class ChosenAnswer:
    """An answer of a model that does not generate."""

    text: str
    score: float


@dataclass(frozen=True)
class FoundAnswer(ChosenAnswer):
    """An answer found among the words of a page."""

    first_word: int
    last_word: int
