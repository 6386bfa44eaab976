"""An image of the contract as plain values."""

from sensorium.v1 import common_pb2 as common
from services.sent_image import SentImage

_NO_FETCHING = "is a URI, and this service fetches none: send the image's bytes as `data`"


def sent_image(media: common.Media) -> SentImage:
    """Returns the image, or what is wrong with how it was sent."""
    source = media.WhichOneof("source")
    wrong = _NO_FETCHING if source == "uri" else "" if source else "has no data: send the image's bytes as `data`"
    return SentImage(media.data, media.mime_type, wrong)
