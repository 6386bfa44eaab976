"""Converts requests and results of Rerank and Classify between protobuf and plain values."""

from collections.abc import Iterator, Sequence

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import text_pb2 as pb
from services.answer_conversion import classification, identified
from services.engine.batching.answer import Answer
from services.engine.labels.label_scores import LabelScore
from services.text.understanding.ask import ClassifyAsk, RankedDocument, RerankAsk
from services.text.understanding.conversion import given, texts_input


def rerank_ask(request: pb.RerankRequest, seconds: float | None) -> RerankAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return RerankAsk(
        input=texts_input(request, request.documents, seconds, request.truncation),
        query=request.query,
        top_n=given(request, "top_n"),
        raw_scores=request.raw_scores,
    )


def rerank_response(
    answer: Answer[Sequence[RankedDocument]], request: pb.RerankRequest, identity: common.ModelIdentity
) -> pb.RerankResponse:
    """Returns the response message for the documents, with their texts if the request asked for them."""

    def results() -> Iterator[pb.RerankResponse.RankedDocument]:
        for ranked in answer.result:
            text = request.documents[ranked.index] if request.return_documents else None
            yield pb.RerankResponse.RankedDocument(index=ranked.index, score=ranked.score, document=text)

    return pb.RerankResponse(results=results(), **identified(answer, identity))


def classify_ask(request: pb.ClassifyRequest, seconds: float | None) -> ClassifyAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return ClassifyAsk(
        input=texts_input(request, request.texts, seconds, request.truncation),
        labels=list(request.labels),
        hypothesis_template=given(request, "hypothesis_template"),
        multi_label=given(request, "multi_label"),
        top_k=given(request, "top_k"),
        raw_scores=request.raw_scores,
    )


def classify_response(
    answer: Answer[Sequence[Sequence[LabelScore]]], identity: common.ModelIdentity
) -> pb.ClassifyResponse:
    """Returns the response message for the labels of each text."""
    return pb.ClassifyResponse(results=map(classification, answer.result), **identified(answer, identity))
