"""Turns captions and questions into requests to an image-to-text model."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.engine.generation.requests.resolution import GenerationOptions, ModelDefaults
from services.engine.multimodal.kind import MediaKind
from services.generation.ask import ShownMedium
from services.multimodal.ask import AnswerAsk, CaptionAsk, DocumentQuestionAsk, ImageQuestionAsk
from services.multimodal.image_to_text.picture_generator import PictureAsk
from services.multimodal.question import NO_PAGE, writing_violations
from services.sent_media import SentMedia

_END = "</s_answer>"


@dataclass(frozen=True)
class PictureAsks:
    """Makes the generator's requests for one model."""

    reads_question: bool
    """Whether a question goes into the encoder with the picture, instead of into the decoder's prompt."""
    defaults: ModelDefaults
    end_of_answer: int | None = None
    """The id of Donut's `</s_answer>`; None for models that do not frame questions like Donut."""

    @classmethod
    def of(cls, reads_question: bool, defaults: ModelDefaults, id_of: Callable[[str], int | None]) -> "PictureAsks":
        """Makes one for a model; `id_of` returns the id of a token, or None if it is not in the vocabulary."""
        framed = id_of("<s_docvqa>") is not None
        return cls(reads_question, defaults, id_of(_END) if framed else None)

    def caption(self, ask: CaptionAsk) -> PictureAsk:
        """Returns the request for a caption; if there is a prompt, the model continues it."""
        return PictureAsk(
            prompt=ask.prompt or "",
            options=ask.options,
            delivered=ask.delivered,
            deadline=ask.deadline,
            violations=ask.violations,
            media=(ShownMedium(MediaKind.IMAGE, ask.image, "image"),),
        )

    def image_question(self, ask: ImageQuestionAsk) -> PictureAsk:
        """Returns the request for an answer to a question about an image."""
        return self._answer(ask, ask.image, "image")

    def document_question(self, ask: DocumentQuestionAsk) -> PictureAsk:
        """Returns the request for an answer about a page. The model reads the page's image, not its words."""
        answer = self._answer(ask, ask.page or NO_PAGE, "page")
        if self.end_of_answer is None:
            return answer
        framed = f"<s_docvqa><s_question>{ask.question}</s_question><s_answer>"
        ends = self.defaults.end_token_ids | {self.end_of_answer}
        return replace(answer, prompt=framed, defaults=replace(self.defaults, end_token_ids=ends))

    def _answer(self, ask: AnswerAsk, image: SentMedia, field: str) -> PictureAsk:
        return PictureAsk(
            prompt="" if self.reads_question else ask.question,
            options=ask.options or GenerationOptions(),
            delivered=ask.delivered,
            deadline=ask.deadline,
            violations=(*ask.violations, *writing_violations(ask)),
            media=(ShownMedium(MediaKind.IMAGE, image, field),),
            question=ask.question if self.reads_question else "",
        )
