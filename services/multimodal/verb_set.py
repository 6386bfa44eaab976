"""What a multimodal model can do, as the servicer sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from services.engine.batching.answer import Answer
from services.generation.ask import Generation, GenerationAsk
from services.multimodal.ask import CaptionAsk, ChosenAnswer, DocumentQuestionAsk, FoundAnswer, ImageQuestionAsk

Wish = TypeVar("Wish", contravariant=True)


class Writer(Protocol[Wish]):
    """A verb whose answer is generated."""

    async def start(self, wish: Wish, /) -> Generation:
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
    """What a loaded multimodal model can do. Questions of one kind it either answers by reading or by writing."""

    generator: Writer[GenerationAsk] | None = None
    captioner: Writer[CaptionAsk] | None = None
    image_writer: Writer[ImageQuestionAsk] | None = None
    document_writer: Writer[DocumentQuestionAsk] | None = None
    image_reader: ImageReader | None = None
    document_reader: DocumentReader | None = None
