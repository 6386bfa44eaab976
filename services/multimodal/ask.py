"""The requests and results of multimodal verbs as plain values, free of torch and protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import DeliveredTokens, GenerationOptions
from services.sent_media import SentMedia


@dataclass(frozen=True)
class CaptionAsk:
    """A request to caption an image. Not validated yet, except for `violations` from its conversion."""

    image: SentMedia
    prompt: str | None
    options: GenerationOptions
    delivered: tuple[DeliveredTokens, ...] = ()
    deadline: float | None = None
    """On the clock of `time.monotonic`; None: no deadline."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class AnswerAsk:
    """The common part of questions. Not validated yet, except for `violations` from its conversion."""

    question: str
    answer_count: int | None = None
    """For models that do not generate: how many answers to return; None: one."""
    options: GenerationOptions | None = None
    """For models that generate; None if the request has no `parameters`."""
    delivered: tuple[DeliveredTokens, ...] = ()
    deadline: float | None = None
    """On the clock of `time.monotonic`; None: no deadline."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class ImageQuestionAsk(AnswerAsk):
    """A question about an image."""

    image: SentMedia = field(kw_only=True)


@dataclass(frozen=True)
class PlacedWord:
    """One word of a page and its box."""

    text: str
    box: tuple[float, float, float, float] | None
    """`(x_min, y_min, x_max, y_max)`; None if it was not sent."""


@dataclass(frozen=True)
class DocumentQuestionAsk(AnswerAsk):
    """A question about a page of a document."""

    page: SentMedia | None = field(kw_only=True)
    words: Sequence[PlacedWord] = ()
    page_size: tuple[int, int] | None = None
    """Width and height that the words' boxes refer to; None: those of the page's image."""
    max_answer_words: int | None = None


@dataclass(frozen=True)
class ChosenAnswer:
    """An answer of a model that does not generate."""

    text: str
    score: float


@dataclass(frozen=True)
class FoundAnswer(ChosenAnswer):
    """An answer selected from the words of a page, with the indices of its first and last word."""

    first_word: int
    last_word: int
