"""What passes between the servicer and the verbs that read once, free of torch and of protobuf."""

from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.language.texts import Truncation, are_short

_FEW = 4
"""Texts, of which each takes some time however short it is."""


@dataclass(frozen=True)
class TextsInput:
    """What every such request has: texts, a deadline, and what its conversion found wrong."""

    texts: list[str]
    truncation: Truncation
    deadline: float | None
    """On the clock of `time.monotonic`."""
    violations: tuple[Violation, ...]

    @property
    def is_light(self) -> bool:
        """Whether a fast tokenizer leaves so little to prepare that a thread would take longer to wake (ADR 50)."""
        return len(self.texts) <= _FEW and are_short(*self.texts)


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


@dataclass(frozen=True)
class RerankAsk:
    """A wish for documents, which `input` holds, in order of relevance, unchecked."""

    input: TextsInput
    query: str
    top_n: int | None
    raw_scores: bool


@dataclass(frozen=True)
class RankedDocument:
    """A document, by its index in the request, with its score."""

    index: int
    score: float


@dataclass(frozen=True)
class ClassifyAsk:
    """A wish for labels, unchecked. Without `labels`, the model's own are meant."""

    input: TextsInput
    labels: list[str]
    hypothesis_template: str | None
    multi_label: bool | None
    top_k: int | None
    raw_scores: bool


@dataclass(frozen=True)
class ClassifyTokensAsk:
    """A wish for labelled spans, unchecked. `aggregation` is a name of Aggregation."""

    input: TextsInput
    aggregation: str
    include_outside: bool
    min_score: float | None
    overlap_token_count: int | None


@dataclass(frozen=True)
class LabelledSpan:
    """A labelled piece of a text, in code points."""

    label: str
    score: float
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class AnswerQuestionAsk:
    """A wish for answers from the context that `input` holds, unchecked."""

    input: TextsInput
    question: str
    overlap_token_count: int | None
    max_answer_token_count: int | None
    answer_count: int | None
    allow_no_answer: bool


@dataclass(frozen=True)
class FoundAnswer:
    """A piece of a context, in code points, with its score."""

    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class FoundAnswers:
    """The answers, best first."""

    answers: list[FoundAnswer]
    no_answer_score: float | None


@dataclass(frozen=True)
class FillMaskAsk:
    """A wish for tokens in masked places, unchecked."""

    input: TextsInput
    mask: str | None
    targets: list[str]
    top_k: int | None


@dataclass(frozen=True)
class MaskCandidate:
    """A token for a masked place."""

    token_id: int
    text: str
    score: float
    filled_text: str
