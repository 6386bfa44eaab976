"""Converts requests and results of EstimateDepth between protobuf and plain values."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import vision_pb2 as pb
from services.answer_conversion import identified
from services.engine.batching.answer import Answer
from services.media_conversion import images_input
from services.vision.depth.ask import Depth, DepthAsk


def depth_ask(request: pb.EstimateDepthRequest, seconds: float | None) -> DepthAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    as_floats = request.format == pb.EstimateDepthRequest.DEPTH_FORMAT_FLOAT32
    return DepthAsk(images_input(request, [request.image], seconds), as_floats)


def depth_response(answer: Answer[Depth], identity: common.ModelIdentity) -> pb.EstimateDepthResponse:
    """Returns the response message for the depths."""
    depth = answer.result
    response = pb.EstimateDepthResponse(
        scale=depth.scale,
        offset=depth.offset,
        min_depth=depth.least,
        max_depth=depth.greatest,
        kind=pb.EstimateDepthResponse.DepthKind.Value(f"DEPTH_KIND_{depth.kind}"),
        image_size=common.ImageSize(width=depth.width, height=depth.height),
        **identified(answer, identity),
    )
    if depth.as_floats:
        response.float32 = depth.data
    else:
        response.png16 = depth.data
    return response
