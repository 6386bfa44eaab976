"""Converts generated captions and answers to protobuf."""

from typing import Any, TypeVar

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from services.generation.ask import Generation
from services.generation.response_conversion import read_whole, timing, usage

Answers = TypeVar("Answers", pb.AnswerImageQuestionResponse, pb.AnswerDocumentQuestionResponse)


async def written_caption(generation: Generation, identity: common.ModelIdentity) -> pb.CaptionResponse:
    """Reads a generation to its end and returns the captions as one message."""
    candidates, completed = await read_whole(generation)
    return pb.CaptionResponse(
        model=identity,
        candidates=candidates,
        seed=generation.seed,
        usage=usage(completed),
        timing=timing(completed.times),
    )


async def written_answers(generation: Generation, identity: common.ModelIdentity, kind: type[Answers]) -> Answers:
    """Reads a generation to its end and returns the answers as one message of the type `kind`."""
    candidates, completed = await read_whole(generation)
    answers: Any = (kind.Answer(text=each.text.strip(), generated=each) for each in candidates)
    return kind(
        model=identity,
        answers=answers,
        seed=generation.seed,
        usage=usage(completed),
        timing=timing(completed.times),
    )
