"""Converts requests of AnswerImageQuestion and AnswerDocumentQuestion from protobuf to plain values."""

import time
from typing import Any

from sensorium.errors import Violation
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from services.enums import unknown_enum_numbers
from services.generation.parameters_conversion import delivered_tokens, generation_options
from services.generation.structure_conversion import structure_violations
from services.media_conversion import sent_media
from services.multimodal.ask import DocumentQuestionAsk, ImageQuestionAsk, PlacedWord

ImageQuestion = pb.AnswerImageQuestionRequest | pb.StreamAnswerImageQuestionRequest
DocumentQuestion = pb.AnswerDocumentQuestionRequest | pb.StreamAnswerDocumentQuestionRequest


def image_question_ask(request: ImageQuestion, seconds: float | None) -> ImageQuestionAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return ImageQuestionAsk(**_shared(request, seconds), image=sent_media(request.image, "image"))


def document_question_ask(request: DocumentQuestion, seconds: float | None) -> DocumentQuestionAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    size = request.page_size
    return DocumentQuestionAsk(
        **_shared(request, seconds),
        page=sent_media(request.page, "image") if request.HasField("page") else None,
        words=[_word(word) for word in request.words],
        page_size=(size.width, size.height) if request.HasField("page_size") else None,
        max_answer_words=_given(request, "max_answer_word_count"),
    )


def _shared(request: ImageQuestion | DocumentQuestion, seconds: float | None) -> dict[str, Any]:
    """Returns the fields of AnswerAsk."""
    streams = isinstance(request, pb.StreamAnswerImageQuestionRequest | pb.StreamAnswerDocumentQuestionRequest)
    wrong: list[Violation] = [*unknown_enum_numbers(request), *structure_violations(request.parameters)]
    return {
        "question": request.question,
        "answer_count": None if streams else _given(request, "answer_count"),
        "options": generation_options(request.parameters) if request.HasField("parameters") else None,
        "delivered": delivered_tokens(request.delivered) if streams else (),
        "deadline": None if seconds is None else time.monotonic() + seconds,
        "violations": tuple(wrong),
    }


def _given(request: Any, name: str) -> Any:
    """Returns the value of an optional field, or None if it is not set or the message has no such field."""
    return getattr(request, name) if name in request.DESCRIPTOR.fields_by_name and request.HasField(name) else None


def _word(word: pb.DocumentWord) -> PlacedWord:
    box: common.BoundingBox = word.box
    return PlacedWord(word.text, (box.x_min, box.y_min, box.x_max, box.y_max) if word.HasField("box") else None)
