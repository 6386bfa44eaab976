"""Conversions of the encoder verbs' requests and results, with fake verbs instead of a model."""

import time
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from sensorium.errors import ModelNotReady, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2
from sensorium.v1 import text_pb2 as pb
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.labels.label_scores import LabelScore
from services.engine.language.texts import Truncation
from services.served_model import ServedModel
from services.text.extraction.conversion import answer_question_ask, classify_tokens_ask, fill_mask_ask
from services.text.servicer import TextServicer
from services.text.understanding.ask import (
    FoundAnswer,
    FoundAnswers,
    LabelledSpan,
    MaskCandidate,
    RankedDocument,
    Vectors,
)
from services.text.understanding.conversion import embed_ask
from services.text.understanding.scoring_conversion import classify_ask, rerank_ask
from services.text.verb_set import TextVerbs

TIMES = RequestTimes(queue=0.001, preprocess=0.002, compute=0.003, total=0.004)

TOKENS = pb.ClassifyTokensRequest


def test_absent_options_stay_absent() -> None:
    assert embed_ask(pb.EmbedRequest(), None).normalize is None
    assert rerank_ask(pb.RerankRequest(), None).top_n is None
    classify = classify_ask(pb.ClassifyRequest(), None)
    assert (classify.multi_label, classify.top_k, classify.hypothesis_template) == (None, None, None)
    tokens = classify_tokens_ask(pb.ClassifyTokensRequest(), None)
    assert (tokens.aggregation, tokens.min_score, tokens.overlap_token_count) == ("SIMPLE", None, None)
    question = answer_question_ask(pb.AnswerQuestionRequest(), None)
    assert (question.answer_count, question.max_answer_token_count, question.overlap_token_count) == (None, None, None)
    mask = fill_mask_ask(pb.FillMaskRequest(), None)
    assert (mask.mask, mask.top_k, mask.targets) == (None, None, [])


def test_zeros_are_values() -> None:
    assert rerank_ask(pb.RerankRequest(top_n=0), None).top_n == 0
    classify = classify_ask(pb.ClassifyRequest(multi_label=False, top_k=0, hypothesis_template=""), None)
    assert (classify.multi_label, classify.top_k, classify.hypothesis_template) == (False, 0, "")
    assert fill_mask_ask(pb.FillMaskRequest(mask=""), None).mask == ""
    assert classify_tokens_ask(TOKENS(min_score=0, overlap_token_count=0), None).overlap_token_count == 0


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (TOKENS.AGGREGATION_UNSPECIFIED, "SIMPLE"),
        (TOKENS.AGGREGATION_NONE, "NONE"),
        (TOKENS.AGGREGATION_SIMPLE, "SIMPLE"),
        (TOKENS.AGGREGATION_FIRST, "FIRST"),
        (TOKENS.AGGREGATION_AVERAGE, "AVERAGE"),
        (TOKENS.AGGREGATION_MAX, "MAX"),
    ],
)
def test_every_aggregation_has_a_name(number: Any, name: str) -> None:
    assert classify_tokens_ask(TOKENS(aggregation=number), None).aggregation == name


def test_the_deadline_is_on_the_clock_and_the_truncation_a_value() -> None:
    before = time.monotonic()
    ask = rerank_ask(pb.RerankRequest(documents=["a"], truncation=pb.TRUNCATION_START), 5.0)
    assert ask.input.truncation is Truncation.START
    assert ask.input.deadline is not None
    assert before + 5 <= ask.input.deadline <= time.monotonic() + 5
    unspecified = rerank_ask(pb.RerankRequest(), None).input
    assert (unspecified.truncation, unspecified.deadline) == (Truncation.NONE, None)


def test_unknown_enum_numbers_are_violations() -> None:
    assert [wrong.field for wrong in rerank_ask(pb.RerankRequest(truncation=9), None).input.violations] == [
        "truncation"
    ]  # type: ignore[arg-type]
    assert [wrong.field for wrong in classify_tokens_ask(TOKENS(aggregation=9), None).input.violations] == [
        "aggregation"
    ]  # type: ignore[arg-type]


class FakeVerb:
    """A fake of every verb: it answers with `result`."""

    def __init__(self, result: Any, takes_labels: bool = False) -> None:
        self.result = result
        self.takes_labels = takes_labels
        self.asks: list[Any] = []

    async def _answer(self, ask: Any) -> Answer[Any]:
        self.asks.append(ask)
        return Answer(self.result, TIMES, input_tokens=7)

    embed = rerank = classify = classify_tokens = answer_question = fill_mask = _answer


class Context:
    def time_remaining(self) -> float | None:
        return None


def servicer(**verbs: Any) -> TextServicer:
    served = ServedModel("tiny")
    served.enter(models_pb2.MODEL_STATE_READY)
    made = TextServicer(served)
    made.verbs = TextVerbs(tokenizer=None, **verbs)  # type: ignore[arg-type]
    return made


RPCS: list[tuple[str, str, Message, Any, Message]] = [
    (
        "Embed", "embedder", pb.EmbedRequest(), [Vectors(np.array([[1.0, 2.0]], np.float32))],
        pb.EmbedResponse(embeddings=[common.Embedding(values=[1, 2], vector_count=1, dimension_count=2)]),
    ),
    (
        "Rerank", "reranker", pb.RerankRequest(documents=["a", "b"], return_documents=True), [RankedDocument(1, 0.5)],
        pb.RerankResponse(results=[pb.RerankResponse.RankedDocument(index=1, score=0.5, document="b")]),
    ),
    (
        "Classify", "classifier", pb.ClassifyRequest(), [[LabelScore("x", 0.5, 3)], []],
        pb.ClassifyResponse(results=[
            common.Classification(labels=[common.LabelScore(label="x", score=0.5, index=3)]), common.Classification(),
        ]),
    ),
    (
        "ClassifyTokens", "token_classifier", pb.ClassifyTokensRequest(), [[], [LabelledSpan("PER", 0.5, "Ada", 1, 4)]],
        pb.ClassifyTokensResponse(results=[
            pb.ClassifyTokensResponse.SpanList(),
            pb.ClassifyTokensResponse.SpanList(spans=[
                pb.ClassifyTokensResponse.Span(label="PER", score=0.5, text="Ada", start=1, end=4)
            ]),
        ]),
    ),
    (
        "AnswerQuestion", "question_answerer", pb.AnswerQuestionRequest(),
        FoundAnswers([FoundAnswer("Ada", 0.5, 0, 3)], None),
        pb.AnswerQuestionResponse(answers=[pb.AnswerQuestionResponse.Answer(text="Ada", score=0.5, start=0, end=3)]),
    ),
    (
        "AnswerQuestion", "question_answerer", pb.AnswerQuestionRequest(), FoundAnswers([], 0.0),
        pb.AnswerQuestionResponse(no_answer_score=0.0),
    ),
    (
        "FillMask", "mask_filler", pb.FillMaskRequest(), [[[MaskCandidate(5, "dog", 0.5, "a dog")], []]],
        pb.FillMaskResponse(results=[pb.FillMaskResponse.MaskedPlaceList(places=[
            pb.FillMaskResponse.MaskedPlace(candidates=[
                pb.FillMaskResponse.Candidate(token_id=5, text="dog", score=0.5, filled_text="a dog")
            ]),
            pb.FillMaskResponse.MaskedPlace(),
        ])]),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rpc", "verb", "request_", "result", "expected"), RPCS, ids=[rpc for rpc, *_ in RPCS])
async def test_results_become_messages(rpc: str, verb: str, request_: Any, result: Any, expected: Any) -> None:
    response = await getattr(servicer(**{verb: FakeVerb(result)}), rpc)(request_, Context())
    assert response.usage == common.Usage(input_token_count=7)
    assert response.model.name == "tiny"
    assert response.timing.queue.nanos == 1_000_000
    assert response.timing.time_to_first_output == response.timing.total
    for aside in ("usage", "model", "timing"):
        response.ClearField(aside)
    assert response == expected


@pytest.mark.parametrize("rpc", ["Embed", "Rerank", "Classify", "ClassifyTokens", "AnswerQuestion", "FillMask"])
async def test_what_a_model_cannot_do_is_told(rpc: str) -> None:
    made, request = servicer(), getattr(pb, f"{rpc}Request")()
    with pytest.raises(TaskNotSupported, match=f"tiny cannot do {rpc}"):
        await getattr(made, rpc)(request, Context())
    made._served.enter(models_pb2.MODEL_STATE_DRAINING)
    with pytest.raises(ModelNotReady):
        await getattr(made, rpc)(request, Context())


async def test_labels_in_the_request_reach_only_who_takes_them() -> None:
    own, inference = FakeVerb([]), FakeVerb([], takes_labels=True)
    request = pb.ClassifyRequest(texts=["a"], labels=["b"])
    with pytest.raises(TaskNotSupported):
        await servicer(classifier=own).Classify(request, Context())
    assert not own.asks
    await servicer(classifier=inference).Classify(request, Context())
    assert inference.asks[0].labels == ["b"]
