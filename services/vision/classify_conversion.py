"""Converts results of ClassifyImage to protobuf."""

from collections.abc import Sequence

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import classification, identified
from services.engine.batching.answer import Answer
from services.media.ask import Labelled


def classify_response(answer: Answer[Sequence[Labelled]], identity: common.ModelIdentity) -> pb.ClassifyImageResponse:
    """Returns the response message for the labels of each image."""
    return pb.ClassifyImageResponse(results=map(classification, answer.result), **identified(answer, identity))
