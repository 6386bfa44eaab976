import time

import pytest

from sensorium.errors import DeadlineExceeded, Violation
from services.engine.images.reader import ImageReader
from services.engine.media.image import ImageLimits
from services.media.ask import MediaInput
from services.sent_media import SentMedia
from services.vision.image_list import ImageList
from tests.services.engine.media.pictures import encoded, noise
from tests.tiny.vision_models import processor_class

READER = ImageReader(processor_class("vit")(), ImageLimits(1 << 20, 1_000_000))
IMAGES = [SentMedia(encoded(noise(40, 30), "PNG"), "")] * 3


def test_nothing_is_read_behind_the_deadline() -> None:
    images = ImageList(READER, most=3, most_length=9, longest=9)
    assert len(images.items(MediaInput(IMAGES, time.monotonic() + 60, ()), []).items) == 3
    with pytest.raises(DeadlineExceeded):
        images.items(MediaInput(IMAGES, time.monotonic() - 1, ()), [])


def test_an_image_that_is_large_for_the_model_is_refused() -> None:
    swin2sr = ImageReader(processor_class("swin2sr")(), READER.limits)
    images, wrong = ImageList(swin2sr, most=3, most_length=9, longest=3), list[Violation]()
    large = SentMedia(encoded(noise(500, 400), "PNG"), "")
    assert len(images.items(MediaInput([IMAGES[0], large, IMAGES[0]], None, ()), wrong).items) == 2
    assert [violation.field for violation in wrong] == ["images[1]"]
    assert wrong[0].description.startswith("is 500 × 400 pixels, which is too much for the model to read")
