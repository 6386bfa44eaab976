"""The interfaces of the multimodal verbs, as the servicer calls them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from services.engine.batching.answer import Answer
from services.generation.ask import Generation
from services.generation.starter import Starter
from services.multimodal.ask import CaptionAsk, ChosenAnswer, DocumentQuestionAsk, FoundAnswer, ImageQuestionAsk

AskT = TypeVar("AskT", contravariant=True)


class Writer(Protocol[AskT]):
    """A verb whose result is generated."""

    async def start(self, ask: AskT, /) -> Generation:
        """Submits a request and returns its stream."""
        ...


class ImageReader(Protocol):
    """The verb AnswerImageQuestion of a model that chooses from a fixed list of answers."""

    async def answer(self, ask: ImageQuestionAsk) -> Answer[Sequence[ChosenAnswer]]:
        """Returns answers, the best first."""
        ...


class DocumentReader(Protocol):
    """The verb AnswerDocumentQuestion of a model that selects answers from the words of a page."""

    async def answer(self, ask: DocumentQuestionAsk) -> Answer[Sequence[FoundAnswer]]:
        """Returns answers, the best first."""
        ...


@dataclass(frozen=True)
class MultimodalVerbs:
    """The verbs of a loaded multimodal model; None for each that it does not support.

    For questions, a model has either a reader, which does not generate, or a writer, which does.
    """

    generator: Starter | None = None
    captioner: Writer[CaptionAsk] | None = None
    image_writer: Writer[ImageQuestionAsk] | None = None
    document_writer: Writer[DocumentQuestionAsk] | None = None
    image_reader: ImageReader | None = None
    document_reader: DocumentReader | None = None
