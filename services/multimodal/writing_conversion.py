"""The edge of captions and answers that are generated, outward."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import multimodal_pb2 as pb
from services.generation.ask import Generation
from services.generation.response_conversion import read_whole, timing, usage


async def written_caption(generation: Generation, identity: common.ModelIdentity) -> pb.CaptionResponse:
    """Reads a caption to its end and returns it as one message."""
    candidates, completed = await read_whole(generation)
    return pb.CaptionResponse(
        model=identity,
        candidates=candidates,
        seed=generation.seed,
        usage=usage(completed),
        timing=timing(completed.times),
    )


async def written_image_answers(
    generation: Generation, identity: common.ModelIdentity
) -> pb.AnswerImageQuestionResponse:
    """Reads answers about an image to their end and returns them as one message."""
    kind = pb.AnswerImageQuestionResponse
    candidates, completed = await read_whole(generation)
    return kind(
        model=identity,
        answers=(kind.Answer(text=each.text.strip(), generated=each) for each in candidates),
        seed=generation.seed,
        usage=usage(completed),
        timing=timing(completed.times),
    )


async def written_document_answers(
    generation: Generation, identity: common.ModelIdentity
) -> pb.AnswerDocumentQuestionResponse:
    """Reads answers about a page to their end and returns them as one message."""
    kind = pb.AnswerDocumentQuestionResponse
    candidates, completed = await read_whole(generation)
    return kind(
        model=identity,
        answers=(kind.Answer(text=each.text.strip(), generated=each) for each in candidates),
        seed=generation.seed,
        usage=usage(completed),
        timing=timing(completed.times),
    )
