"""The edge of every service for the media of its requests."""

from sensorium.v1 import common_pb2 as common
from services.sent_media import SentMedia


def sent_media(media: common.Media, noun: str) -> SentMedia:
    """Returns one piece of media, which a violation calls `noun`."""
    source = media.WhichOneof("source")
    send = f"send the {noun}'s bytes as `data`"
    wrong = {"uri": f"is a URI, and this service fetches none: {send}", None: f"has no data: {send}"}.get(source, "")
    return SentMedia(media.data, media.mime_type, wrong)
