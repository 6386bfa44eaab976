"""The requests and results of encoder verbs as plain values, free of torch and protobuf."""

from dataclasses import dataclass
from typing import Any

from sensorium.errors import Violation
from services.engine.language.texts import Truncation, are_short

_FEW = 4
"""The most texts of a light request: each text costs some time, however short it is."""


@dataclass(frozen=True)
class TextsInput:
    """The common part of the requests: texts, a deadline, and the violations that the conversion found."""

    texts: list[str]
    truncation: Truncation
    deadline: float | None
    """On the clock of `time.monotonic`; None: no deadline."""
    violations: tuple[Violation, ...]

    @property
    def is_light(self) -> bool:
        """Whether a fast tokenizer prepares the request faster than a thread would wake up (ADR 50)."""
        return len(self.texts) <= _FEW and are_short(*self.texts)


@dataclass(frozen=True)
class EmbedAsk:
    """A request for vectors, not validated yet. `pooling` is a name of the engine's Pooling; None: the model's own."""

    input: TextsInput
    prompt_name: str | None
    prompt: str | None
    pooling: str | None
    normalize: bool | None
    dimension_count: int | None


@dataclass(frozen=True)
class Vectors:
    """The vectors of one text, `[vectors, dimensions]` in float32: one, or one per token without pooling."""

    values: Any
    """A numpy array."""

    @property
    def count(self) -> int:
        """The number of vectors."""
        return len(self.values)


@dataclass(frozen=True)
class RerankAsk:
    """A request to sort the documents in `input` by relevance to `query`, not validated yet."""

    input: TextsInput
    query: str
    top_n: int | None
    raw_scores: bool


@dataclass(frozen=True)
class RankedDocument:
    """The index of a document in the request, and its score."""

    index: int
    score: float


@dataclass(frozen=True)
class ClassifyAsk:
    """A request for labels, not validated yet. Without `labels`, the model's own are meant."""

    input: TextsInput
    labels: list[str]
    hypothesis_template: str | None
    multi_label: bool | None
    top_k: int | None
    raw_scores: bool


@dataclass(frozen=True)
class ClassifyTokensAsk:
    """A request for labelled spans, not validated yet. `aggregation` is a name of Aggregation."""

    input: TextsInput
    aggregation: str
    include_outside: bool
    min_score: float | None
    overlap_token_count: int | None


@dataclass(frozen=True)
class LabelledSpan:
    """A labelled part of a text; `start` and `end` are in code points."""

    label: str
    score: float
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class AnswerQuestionAsk:
    """A request for answers from the one context in `input`, not validated yet."""

    input: TextsInput
    question: str
    overlap_token_count: int | None
    max_answer_token_count: int | None
    answer_count: int | None
    allow_no_answer: bool


@dataclass(frozen=True)
class FoundAnswer:
    """A part of the context and its score; `start` and `end` are in code points."""

    text: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class FoundAnswers:
    """The answers, best first. `no_answer_score` is None unless the request allows no answer."""

    answers: list[FoundAnswer]
    no_answer_score: float | None


@dataclass(frozen=True)
class FillMaskAsk:
    """A request for tokens in place of masks, not validated yet."""

    input: TextsInput
    mask: str | None
    targets: list[str]
    top_k: int | None


@dataclass(frozen=True)
class MaskCandidate:
    """A token in place of a mask. `filled_text` is the whole text with it."""

    token_id: int
    text: str
    score: float
    filled_text: str
