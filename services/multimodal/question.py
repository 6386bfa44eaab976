"""Validates questions about images and pages."""

from sensorium.errors import Violation
from services.multimodal.ask import AnswerAsk, DocumentQuestionAsk
from services.sent_media import SentMedia

NO_PAGE = SentMedia(b"", "", "must be set: the model reads the page's image")
"""Takes the place of a page image that was not sent; reading it gives this violation."""

_ONLY_CHOSEN = "does not go with this model, which generates its answers: set `parameters.candidate_count`"
_ONLY_FOUND = "does not go with this model, which generates its answers: set `parameters.max_new_tokens`"
_ONLY_GENERATED = "does not go with this model, which generates nothing: it chooses its answers"


def reading_violations(ask: AnswerAsk) -> list[Violation]:
    """Returns the violations of a question to a model that does not generate, apart from its image and words."""
    wrong = _empty(ask)
    if ask.options is not None:
        wrong.append(Violation("parameters", _ONLY_GENERATED))
    if ask.delivered:
        wrong.append(Violation("delivered", _ONLY_GENERATED))
    if ask.answer_count is not None and ask.answer_count < 1:
        wrong.append(Violation("answer_count", f"must be at least 1, not {ask.answer_count}"))
    return wrong


def writing_violations(ask: AnswerAsk) -> list[Violation]:
    """Returns the violations of a question to a model that generates, apart from its generation parameters."""
    wrong = _empty(ask)
    if ask.answer_count is not None:
        wrong.append(Violation("answer_count", _ONLY_CHOSEN))
    if isinstance(ask, DocumentQuestionAsk) and ask.max_answer_words is not None:
        wrong.append(Violation("max_answer_word_count", _ONLY_FOUND))
    return wrong


def _empty(ask: AnswerAsk) -> list[Violation]:
    return [] if ask.question.strip() else [Violation("question", "must not be empty")]
