"""The edge of the speech service for what all its requests with recordings have."""

import time
from collections.abc import Iterable

from google.protobuf.message import Message

from sensorium.v1 import common_pb2 as common
from services.enums import unknown_enum_numbers
from services.media_conversion import sent_media
from services.speech.ask import RecordingsInput


def recordings_input(request: Message, recordings: Iterable[common.Media], seconds: float | None) -> RecordingsInput:
    """Returns what all requests have; `seconds` is what is left of the deadline."""
    return RecordingsInput(
        recordings=[sent_media(recording, "recording") for recording in recordings],
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(unknown_enum_numbers(request)),
    )
