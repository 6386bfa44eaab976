"""The edge of EmbedImage, both ways."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import embedding, identified
from services.engine.batching.answer import Answer
from services.vision.ask import EmbedAsk, Embedded
from services.vision.images_conversion import images_input


def embed_ask(request: pb.EmbedImageRequest, seconds: float | None) -> EmbedAsk:
    """Returns the request as plain values."""
    return EmbedAsk(
        input=images_input(request, request.images, seconds),
        texts=list(request.texts),
        normalize=request.normalize if request.HasField("normalize") else True,
        dimension_count=request.dimension_count if request.HasField("dimension_count") else None,
    )


def embed_response(answer: Answer[Embedded], identity: common.ModelIdentity) -> pb.EmbedImageResponse:
    """Returns the embeddings as a message."""
    return pb.EmbedImageResponse(
        image_embeddings=[embedding(row[None]) for row in answer.result.images],
        text_embeddings=[embedding(row[None]) for row in answer.result.texts],
        **identified(answer, identity),
    )
