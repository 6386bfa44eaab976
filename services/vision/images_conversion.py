"""The edge of the vision service for what all its requests have."""

import time
from collections.abc import Iterable

from google.protobuf.message import Message

from sensorium.v1 import common_pb2 as common
from services.enums import unknown_enum_numbers
from services.vision.ask import ImagesInput, SentImage

_NO_FETCHING = "is a URI, and this service fetches none: send the image's bytes as `data`"


def images_input(request: Message, images: Iterable[common.Media], seconds: float | None) -> ImagesInput:
    """Returns what all requests have; `seconds` is what is left of the deadline."""
    return ImagesInput(
        images=[_sent(image) for image in images],
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(unknown_enum_numbers(request)),
    )


def _sent(media: common.Media) -> SentImage:
    source = media.WhichOneof("source")
    wrong = _NO_FETCHING if source == "uri" else "" if source else "has no data: send the image's bytes as `data`"
    return SentImage(media.data, media.mime_type, wrong)
