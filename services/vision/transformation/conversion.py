"""Converts requests and results of TransformImage between protobuf and plain values."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import identified
from services.engine.batching.answer import Answer
from services.media_conversion import images_input
from services.vision.transformation.ask import NewImage, TransformAsk


def transform_ask(request: pb.TransformImageRequest, seconds: float | None) -> TransformAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    media_type = request.output_mime_type if request.HasField("output_mime_type") else None
    return TransformAsk(images_input(request, [request.image], seconds), media_type)


def transform_response(answer: Answer[NewImage], identity: common.ModelIdentity) -> pb.TransformImageResponse:
    """Returns the response message for the new image."""
    made = answer.result
    return pb.TransformImageResponse(
        image=common.Media(mime_type=made.media_type, data=made.data),
        image_size=common.ImageSize(width=made.width, height=made.height),
        **identified(answer, identity),
    )
