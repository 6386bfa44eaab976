"""Converts requests and results of DetectObjects between protobuf and plain values."""

from collections.abc import Sequence

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import identified, label_score
from services.engine.batching.answer import Answer
from services.media_conversion import images_input
from services.vision.detection.ask import DetectAsk, DetectedObject, DetectedObjects


def detect_ask(request: pb.DetectObjectsRequest, seconds: float | None) -> DetectAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return DetectAsk(
        input=images_input(request, request.images, seconds),
        labels=list(request.labels),
        min_score=request.min_score if request.HasField("min_score") else None,
        top_k=request.top_k if request.HasField("top_k") else None,
    )


def detect_response(
    answer: Answer[Sequence[DetectedObjects]], identity: common.ModelIdentity
) -> pb.DetectObjectsResponse:
    """Returns the response message for the objects of each image."""
    return pb.DetectObjectsResponse(results=map(_object_list, answer.result), **identified(answer, identity))


def _object_list(found: DetectedObjects) -> pb.DetectObjectsResponse.DetectedObjectList:
    return pb.DetectObjectsResponse.DetectedObjectList(
        objects=map(_object, found.objects),
        image_size=common.ImageSize(width=found.width, height=found.height),
    )


def _object(found: DetectedObject) -> pb.DetectObjectsResponse.DetectedObject:
    return pb.DetectObjectsResponse.DetectedObject(label=label_score(found.label), box=bounding_box(found.box))


def bounding_box(box: tuple[float, float, float, float]) -> common.BoundingBox:
    """Returns the message for a box `(x_min, y_min, x_max, y_max)`."""
    x_min, y_min, x_max, y_max = box
    return common.BoundingBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)
