"""The edge of the vision service for what all its requests have."""

import time
from collections.abc import Iterable

from google.protobuf.message import Message

from sensorium.v1 import common_pb2 as common
from services.enums import unknown_enum_numbers
from services.media_conversion import sent_media
from services.vision.ask import ImagesInput


def images_input(request: Message, images: Iterable[common.Media], seconds: float | None) -> ImagesInput:
    """Returns what all requests have; `seconds` is what is left of the deadline."""
    return ImagesInput(
        images=[sent_media(image, "image") for image in images],
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(unknown_enum_numbers(request)),
    )
