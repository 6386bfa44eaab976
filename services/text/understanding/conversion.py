"""Converts requests and results of Embed between protobuf and plain values, and what all encoder requests share."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import Message

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import embedding, identified
from services.engine.batching.answer import Answer
from services.engine.language.texts import Truncation
from services.enums import unknown_enum_numbers
from services.text.understanding.ask import EmbedAsk, TextsInput, Vectors

_TRUNCATIONS = {pb.TRUNCATION_START: Truncation.START, pb.TRUNCATION_END: Truncation.END}
_POOLINGS = {
    pb.POOLING_MEAN: "MEAN",
    pb.POOLING_FIRST_TOKEN: "FIRST_TOKEN",
    pb.POOLING_LAST_TOKEN: "LAST_TOKEN",
    pb.POOLING_MAX: "MAX",
    pb.POOLING_NONE: "NONE",
}


def texts_input(
    request: Message,
    texts: Iterable[str],
    seconds: float | None,
    truncation: pb.Truncation.ValueType = pb.TRUNCATION_UNSPECIFIED,
) -> TextsInput:
    """Returns the common part of a request; `seconds` is the time left until its deadline."""
    return TextsInput(
        texts=list(texts),
        truncation=_TRUNCATIONS.get(truncation, Truncation.NONE),
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(unknown_enum_numbers(request)),
    )


def given(request: Message, name: str) -> Any:
    """Returns the value of an optional field, or None if it is not set."""
    return getattr(request, name) if request.HasField(name) else None


def embed_ask(request: pb.EmbedRequest, seconds: float | None) -> EmbedAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    instruction = request.WhichOneof("instruction")
    return EmbedAsk(
        input=texts_input(request, request.texts, seconds, request.truncation),
        prompt_name=request.prompt_name if instruction == "prompt_name" else None,
        prompt=request.prompt if instruction == "prompt" else None,
        pooling=_POOLINGS.get(request.pooling),
        normalize=given(request, "normalize"),
        dimension_count=given(request, "dimension_count"),
    )


def embed_response(answer: Answer[Sequence[Vectors]], identity: common.ModelIdentity) -> pb.EmbedResponse:
    """Returns the response message for the vectors of each text."""
    return pb.EmbedResponse(
        embeddings=[embedding(each.values) for each in answer.result], **identified(answer, identity)
    )
