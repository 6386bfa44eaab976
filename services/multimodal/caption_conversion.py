"""Converts requests of Caption and StreamCaption from protobuf to plain values."""

import time

from sensorium.v1 import multimodal_pb2 as pb
from services.enums import unknown_enum_numbers
from services.generation.parameters_conversion import delivered_tokens, generation_options
from services.generation.structure_conversion import structure_violations
from services.media_conversion import sent_media
from services.multimodal.ask import CaptionAsk


def caption_ask(request: pb.CaptionRequest | pb.StreamCaptionRequest, seconds: float | None) -> CaptionAsk:
    """Returns the request as plain values; `seconds` is the time left until its deadline."""
    return CaptionAsk(
        image=sent_media(request.image, "image"),
        prompt=request.prompt if request.HasField("prompt") else None,
        options=generation_options(request.parameters),
        delivered=delivered_tokens(request.delivered) if isinstance(request, pb.StreamCaptionRequest) else (),
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=(*unknown_enum_numbers(request), *structure_violations(request.parameters)),
    )
