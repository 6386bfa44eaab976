"""The interfaces of the text verbs, as the servicer calls them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from services.engine.batching.answer import Answer
from services.engine.labels.label_scores import LabelScore
from services.engine.language.texts import EncodedText
from services.generation.ask import Generation, GenerationAsk
from services.generation.starter import Starter
from services.text.text_to_text.ask import TextsAsk
from services.text.understanding.ask import (
    AnswerQuestionAsk,
    ClassifyAsk,
    ClassifyTokensAsk,
    EmbedAsk,
    FillMaskAsk,
    FoundAnswers,
    LabelledSpan,
    MaskCandidate,
    RankedDocument,
    RerankAsk,
    Vectors,
)

T = TypeVar("T")


class Generator(Starter, Protocol):
    """The verb Generate."""

    async def start(self, ask: GenerationAsk) -> Generation:
        """Submits a request and returns its stream."""
        ...


class Tokenizer(Protocol):
    """The verbs Tokenize and Detokenize."""

    async def tokenize(
        self, texts: list[str], convert: Callable[[EncodedText], T], *, add_special_tokens: bool
    ) -> list[T]:
        """Tokenizes each text and returns the results of `convert`."""
        ...

    async def detokenize(self, sequences: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        """Returns the text of each sequence of token ids."""
        ...


class TextsVerb(Protocol):
    """The verb Summarize or Translate."""

    async def start(self, ask: TextsAsk) -> list[Generation]:
        """Submits all texts of a request or none, and returns the stream of each."""
        ...


class Embedder(Protocol):
    """The verb Embed."""

    async def embed(self, ask: EmbedAsk) -> Answer[Sequence[Vectors]]:
        """Returns the vectors of each text."""
        ...


class Reranker(Protocol):
    """The verb Rerank."""

    async def rerank(self, ask: RerankAsk) -> Answer[Sequence[RankedDocument]]:
        """Returns the documents, the most relevant first."""
        ...


class Classifier(Protocol):
    """The verb Classify."""

    @property
    def takes_labels(self) -> bool:
        """Whether requests may bring labels (zero-shot)."""
        ...

    async def classify(self, ask: ClassifyAsk) -> Answer[Sequence[Sequence[LabelScore]]]:
        """Returns the labels of each text."""
        ...


class TokenClassifier(Protocol):
    """The verb ClassifyTokens."""

    async def classify_tokens(self, ask: ClassifyTokensAsk) -> Answer[Sequence[Sequence[LabelledSpan]]]:
        """Returns the labelled spans of each text."""
        ...


class QuestionAnswerer(Protocol):
    """The verb AnswerQuestion."""

    async def answer_question(self, ask: AnswerQuestionAsk) -> Answer[FoundAnswers]:
        """Returns answers: parts of the context, best first."""
        ...


class MaskFiller(Protocol):
    """The verb FillMask."""

    async def fill_mask(self, ask: FillMaskAsk) -> Answer[Sequence[Sequence[Sequence[MaskCandidate]]]]:
        """Returns the candidates for each mask of each text."""
        ...


@dataclass(frozen=True)
class TextVerbs:
    """The verbs of a loaded text model; None for each that it does not support."""

    tokenizer: Tokenizer
    generator: Generator | None = None
    summarizer: TextsVerb | None = None
    translator: TextsVerb | None = None
    embedder: Embedder | None = None
    reranker: Reranker | None = None
    classifier: Classifier | None = None
    token_classifier: TokenClassifier | None = None
    question_answerer: QuestionAnswerer | None = None
    mask_filler: MaskFiller | None = None
    adapters: "Mapping[str, TextVerbs]" = field(default_factory=dict[str, "TextVerbs"])
    """The verbs of each LoRA adapter that requests can name, by its name."""
