"""What a multimodal model can do, as the servicer sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.engine.batching.answer import Answer
from services.generation.ask import Generation, GenerationAsk
from services.multimodal.ask import ChosenAnswer, DocumentQuestionAsk, FoundAnswer, ImageQuestionAsk


class Generator(Protocol):
    """The verb Generate."""

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts a request."""
        ...


class ImageReader(Protocol):
    """The verb AnswerImageQuestion of a model that chooses among the answers it knows."""

    async def answer(self, ask: ImageQuestionAsk) -> Answer[Sequence[ChosenAnswer]]:
        """Returns answers, the best first."""
        ...


class DocumentReader(Protocol):
    """The verb AnswerDocumentQuestion of a model that finds its answers among the words."""

    async def answer(self, ask: DocumentQuestionAsk) -> Answer[Sequence[FoundAnswer]]:
        """Returns answers, the best first."""
        ...


@dataclass(frozen=True)
class MultimodalVerbs:
    """What a loaded multimodal model can do."""

    generator: Generator | None = None
    image_reader: ImageReader | None = None
    document_reader: DocumentReader | None = None
