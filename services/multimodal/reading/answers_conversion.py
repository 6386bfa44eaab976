"""Converts answers of models that do not generate to protobuf."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from services.answer_conversion import identified
from services.engine.batching.answer import Answer
from services.multimodal.ask import ChosenAnswer, FoundAnswer

AnswerEvent = TypeVar("AnswerEvent")
"""The response message of a streaming RPC."""


def image_answers(
    answer: Answer[Sequence[ChosenAnswer]], identity: common.ModelIdentity
) -> pb.AnswerImageQuestionResponse:
    """Returns the response message for the answers."""
    kind = pb.AnswerImageQuestionResponse
    answers = (kind.Answer(text=found.text, score=found.score) for found in answer.result)
    return kind(answers=answers, **identified(answer, identity))


def document_answers(
    answer: Answer[Sequence[FoundAnswer]], identity: common.ModelIdentity
) -> pb.AnswerDocumentQuestionResponse:
    """Returns the response message for the answers."""
    kind = pb.AnswerDocumentQuestionResponse
    answers = (
        kind.Answer(
            text=found.text, score=found.score, first_word_index=found.first_word, last_word_index=found.last_word
        )
        for found in answer.result
    )
    return kind(answers=answers, **identified(answer, identity))


def answer_events(
    answer: Answer[Any], identity: common.ModelIdentity, kind: Callable[..., AnswerEvent]
) -> Iterator[AnswerEvent]:
    """Yields the best answer as a stream with a single delta; `kind` is the RPC's response message."""
    told = identified(answer, identity)
    best: Sequence[ChosenAnswer] = answer.result[:1]
    yield kind(started=common.GenerationStarted(model=identity, prompt_token_count=answer.input_tokens))
    yield kind(delta=common.GenerationDelta(text="".join(found.text for found in best)))
    finish = common.CandidateFinish(finish=common.Finish(reason=common.FINISH_REASON_END_OF_SEQUENCE))
    yield kind(completed=common.GenerationCompleted(candidates=[finish], usage=told["usage"], timing=told["timing"]))
