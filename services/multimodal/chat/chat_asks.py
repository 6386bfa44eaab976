"""Turns captions and questions into chat requests: one user turn with the image and an instruction."""

from typing import Any

from services.engine.generation.requests.resolution import GenerationOptions
from services.engine.language.texts import Chat
from services.engine.multimodal.kind import MediaKind
from services.generation.ask import GenerationAsk, ShownMedium
from services.multimodal.ask import AnswerAsk, CaptionAsk, DocumentQuestionAsk, ImageQuestionAsk
from services.multimodal.question import NO_PAGE, writing_violations
from services.sent_media import SentMedia

_REQUEST = "Describe the image."


def caption(ask: CaptionAsk) -> GenerationAsk:
    """Returns the generation request for a caption, with the caller's prompt or a default instruction."""
    return GenerationAsk(
        chat=_turn(_REQUEST if ask.prompt is None else ask.prompt),
        options=ask.options,
        delivered=ask.delivered,
        deadline=ask.deadline,
        violations=ask.violations,
        media=(ShownMedium(MediaKind.IMAGE, ask.image, "image"),),
    )


def image_question(ask: ImageQuestionAsk) -> GenerationAsk:
    """Returns the generation request for an answer to a question about an image."""
    return _answer(ask, ask.image, "image")


def document_question(ask: DocumentQuestionAsk) -> GenerationAsk:
    """Returns the generation request for an answer about a page. The model reads the page's image, not its words."""
    return _answer(ask, ask.page or NO_PAGE, "page")


def _answer(ask: AnswerAsk, image: SentMedia, field: str) -> GenerationAsk:
    return GenerationAsk(
        chat=_turn(ask.question),
        options=ask.options or GenerationOptions(),
        delivered=ask.delivered,
        deadline=ask.deadline,
        violations=(*ask.violations, *writing_violations(ask)),
        media=(ShownMedium(MediaKind.IMAGE, image, field),),
    )


def _turn(text: str) -> Chat:
    """Returns a conversation of one user turn: an image and, unless it is empty, a text."""
    parts: list[dict[str, Any]] = [{"type": "image"}]
    if text:
        parts.append({"type": "text", "text": text})
    return Chat([{"role": "user", "content": parts}], [], continue_last=False, thinks=False)
