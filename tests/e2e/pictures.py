"""Images as requests carry them."""

from PIL.Image import Image

from sensorium.v1 import common_pb2 as common
from tests.services.engine.media.pictures import encoded, landscape, noise

PICTURES = [noise(40, 30), landscape(64, 64), noise(31, 90, seed=1), landscape(200, 50)]
"""Of sizes and shapes of all kinds."""


def media(image: Image) -> common.Media:
    """Returns the image as a PNG, of a type that is not told."""
    return common.Media(data=encoded(image, "PNG"))
