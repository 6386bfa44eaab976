"""Converts requests and results of ClassifyTokens, AnswerQuestion and FillMask between protobuf and plain values."""

from collections.abc import Sequence

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import identified
from services.engine.batching.answer import Answer
from services.text.understanding.ask import (
    AnswerQuestionAsk,
    ClassifyTokensAsk,
    FillMaskAsk,
    FoundAnswers,
    LabelledSpan,
    MaskCandidate,
)
from services.text.understanding.conversion import given, texts_input

_TOKENS = pb.ClassifyTokensRequest
_AGGREGATIONS = {
    _TOKENS.AGGREGATION_NONE: "NONE",
    _TOKENS.AGGREGATION_FIRST: "FIRST",
    _TOKENS.AGGREGATION_AVERAGE: "AVERAGE",
    _TOKENS.AGGREGATION_MAX: "MAX",
}


def classify_tokens_ask(request: pb.ClassifyTokensRequest, seconds: float | None) -> ClassifyTokensAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return ClassifyTokensAsk(
        input=texts_input(request, request.texts, seconds),
        aggregation=_AGGREGATIONS.get(request.aggregation, "SIMPLE"),
        include_outside=request.include_outside,
        min_score=given(request, "min_score"),
        overlap_token_count=given(request, "overlap_token_count"),
    )


def classify_tokens_response(
    answer: Answer[Sequence[Sequence[LabelledSpan]]], identity: common.ModelIdentity
) -> pb.ClassifyTokensResponse:
    """Returns the response message for the spans of each text."""
    kind = pb.ClassifyTokensResponse
    lists = (kind.SpanList(spans=(kind.Span(**vars(span)) for span in spans)) for spans in answer.result)
    return kind(results=lists, **identified(answer, identity))


def answer_question_ask(request: pb.AnswerQuestionRequest, seconds: float | None) -> AnswerQuestionAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return AnswerQuestionAsk(
        input=texts_input(request, [request.context], seconds),
        question=request.question,
        overlap_token_count=given(request, "overlap_token_count"),
        max_answer_token_count=given(request, "max_answer_token_count"),
        answer_count=given(request, "answer_count"),
        allow_no_answer=request.allow_no_answer,
    )


def answer_question_response(answer: Answer[FoundAnswers], identity: common.ModelIdentity) -> pb.AnswerQuestionResponse:
    """Returns the response message for the answers."""
    kind = pb.AnswerQuestionResponse
    answers = (kind.Answer(**vars(found)) for found in answer.result.answers)
    return kind(answers=answers, no_answer_score=answer.result.no_answer_score, **identified(answer, identity))


def fill_mask_ask(request: pb.FillMaskRequest, seconds: float | None) -> FillMaskAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return FillMaskAsk(
        input=texts_input(request, request.texts, seconds, request.truncation),
        mask=given(request, "mask"),
        targets=list(request.targets),
        top_k=given(request, "top_k"),
    )


def fill_mask_response(
    answer: Answer[Sequence[Sequence[Sequence[MaskCandidate]]]], identity: common.ModelIdentity
) -> pb.FillMaskResponse:
    """Returns the response message for the candidates of each mask of each text."""
    kind = pb.FillMaskResponse

    def place(candidates: Sequence[MaskCandidate]) -> pb.FillMaskResponse.MaskedPlace:
        return kind.MaskedPlace(candidates=(kind.Candidate(**vars(candidate)) for candidate in candidates))

    lists = (kind.MaskedPlaceList(places=map(place, places)) for places in answer.result)
    return kind(results=lists, **identified(answer, identity))
