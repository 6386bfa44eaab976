"""A narrow image in a small file must not be resized to gigabytes by an image processor."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.engine.images import reader
from services.engine.images.reader import ImageReader
from services.engine.media.image import ImageLimits
from services.engine.media.refusal import ImageRefused
from tests.services.engine.media.pictures import noise
from tests.tiny.vision_models import processor_class

LIMITS = ImageLimits(1 << 20, 200_000)
PROCESSORS: dict[str, dict[str, Any]] = {
    "clip": {"size": {"shortest_edge": 64}},
    "donut": {"size": {"height": 80, "width": 64}},
    "nougat": {"size": {"height": 80, "width": 64}},
    "owlv2": {"size": {"height": 64, "width": 64}},
    "llava": {"size": {"shortest_edge": 32}, "do_pad": True},
}


@pytest.mark.parametrize("size", [(2, 1900), (1900, 2)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_a_line_is_refused_before_it_grows(monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int]) -> None:
    made = processor_class(name)(**PROCESSORS[name])
    monkeypatch.setattr(reader, "processed", lambda *_: pytest.fail("it is let grow"))
    with pytest.raises(ImageRefused, match=rf"is {size[0]} × {size[1]} pixels; on the way to what the model reads"):
        ImageReader(made, LIMITS).process(Image.new("RGB", size))


@pytest.mark.parametrize("size", [(400, 300), (40, 30), (3, 60)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_others_are_read(name: str, size: tuple[int, int]) -> None:
    made, image = processor_class(name)(**PROCESSORS[name]), noise(*size)
    found = ImageReader(made, LIMITS).process(image).tensors["pixel_values"]
    assert np.array_equal(found, made(images=image, return_tensors="np")["pixel_values"][0])


def test_what_leaves_no_pixel_is_refused() -> None:
    """ZoeDepth's processor raises torch's RuntimeError for it."""
    with pytest.raises(ImageRefused, match="of 2 × 20000 pixels cannot be resized to what the model reads"):
        ImageReader(processor_class("zoedepth")(), LIMITS).process(Image.new("RGB", (2, 20_000)))
