"""Converts results of EmbedImage to protobuf."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import embedding, identified
from services.engine.batching.answer import Answer
from services.media.ask import Embedded


def embed_response(answer: Answer[Embedded], identity: common.ModelIdentity) -> pb.EmbedImageResponse:
    """Returns the response message for the embeddings."""
    return pb.EmbedImageResponse(
        image_embeddings=[embedding(row[None]) for row in answer.result.media],
        text_embeddings=[embedding(row[None]) for row in answer.result.texts],
        **identified(answer, identity),
    )
