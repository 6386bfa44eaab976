"""Requests with too many fields are refused before parsing: two bytes can become a whole message object."""

import pytest

from sensorium.errors import InvalidArgument
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as multimodal
from sensorium.v1 import text_pb2 as pb
from services.request_parsing import FIELD_LIMIT, parser


def conversation(turns: int) -> bytes:
    request = pb.GenerateRequest(model="tiny")
    request.chat.messages.extend([common.ChatMessage()] * turns)
    return request.SerializeToString()


def test_inner_messages_count() -> None:
    parse = parser(pb.GenerateRequest)
    # The model's name and the conversation count as one field each.
    assert len(parse(conversation(FIELD_LIMIT - 2)).chat.messages) == FIELD_LIMIT - 2
    with pytest.raises(InvalidArgument, match=f"have more than {FIELD_LIMIT} fields"):
        parse(conversation(FIELD_LIMIT - 1))


def test_a_long_page_of_words_is_read() -> None:
    box = common.BoundingBox(x_min=1, y_min=2, x_max=3, y_max=4)
    words = [multimodal.DocumentWord(text="word", box=box)] * 9_000
    request = multimodal.AnswerDocumentQuestionRequest(question="What?", words=words)
    parse = parser(multimodal.AnswerDocumentQuestionRequest)
    assert parse(request.SerializeToString()) == request


def test_bytes_that_are_long_are_one_field() -> None:
    request = pb.TokenizeRequest(texts=["x" * 4 * FIELD_LIMIT])
    assert parser(pb.TokenizeRequest)(request.SerializeToString()) == request
