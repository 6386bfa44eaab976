"""What is asked of every question."""

from sensorium.errors import Violation
from services.multimodal.ask import AnswerAsk, DocumentQuestionAsk
from services.sent_media import SentMedia

NO_PAGE = SentMedia(b"", "", "must be set: the model reads the page's image")
"""Stands for an image that was not sent."""

_ONLY_CHOSEN = "does not go with this model, which generates its answers: set `parameters.candidate_count`"
_ONLY_FOUND = "does not go with this model, which generates its answers: set `parameters.max_new_tokens`"
_ONLY_GENERATED = "does not go with this model, which generates nothing: it chooses its answers"


def reading_violations(ask: AnswerAsk) -> list[Violation]:
    """Returns what is wrong with a request to a model that does not generate, whatever it reads."""
    wrong = _empty(ask)
    if ask.options is not None:
        wrong.append(Violation("parameters", _ONLY_GENERATED))
    if ask.delivered:
        wrong.append(Violation("delivered", _ONLY_GENERATED))
    if ask.answer_count is not None and ask.answer_count < 1:
        wrong.append(Violation("answer_count", f"must be at least 1, not {ask.answer_count}"))
    return wrong


def writing_violations(ask: AnswerAsk) -> list[Violation]:
    """Returns what is wrong with a request to a model that generates, beside how it is to generate."""
    wrong = _empty(ask)
    if ask.answer_count is not None:
        wrong.append(Violation("answer_count", _ONLY_CHOSEN))
    if isinstance(ask, DocumentQuestionAsk) and ask.max_answer_words is not None:
        wrong.append(Violation("max_answer_word_count", _ONLY_FOUND))
    return wrong


def _empty(ask: AnswerAsk) -> list[Violation]:
    return [] if ask.question.strip() else [Violation("question", "must not be empty")]
