"""What a chat model is asked for captions and for answers: a turn of the user with the image and what to do with it."""

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
    """Returns the wish for a caption, asked for in the caller's words or in plain ones."""
    return GenerationAsk(
        chat=_turn(_REQUEST if ask.prompt is None else ask.prompt),
        options=ask.options,
        delivered=ask.delivered,
        deadline=ask.deadline,
        violations=ask.violations,
        media=(ShownMedium(MediaKind.IMAGE, ask.image, "image"),),
    )


def image_question(ask: ImageQuestionAsk) -> GenerationAsk:
    """Returns the wish for an answer to a question about an image."""
    return _answer(ask, ask.image, "image")


def document_question(ask: DocumentQuestionAsk) -> GenerationAsk:
    """Returns the wish for an answer to a question about a page, of which the model sees the image only."""
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
    """Returns a conversation of one turn, which shows an image and says something, if there is something to say."""
    parts: list[dict[str, Any]] = [{"type": "image"}]
    if text:
        parts.append({"type": "text", "text": text})
    return Chat([{"role": "user", "content": parts}], [], continue_last=False)
