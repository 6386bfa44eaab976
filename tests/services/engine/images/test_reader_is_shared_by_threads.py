"""One image processor serves all threads: the results of one do not depend on the others."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from services.engine.images.reader import ImageReader
from services.engine.media.image import ImageLimits
from services.engine.media.refusal import ImageRefused
from tests.services.engine.media.pictures import encoded, noise
from tests.tiny.vision_models import processor_class

LIMITS = ImageLimits(1 << 20, 1_000_000)
PROCESSORS: dict[str, dict[str, Any]] = {
    "vit": {},
    "clip": {},
    "convnext": {"size": {"shortest_edge": 64}},
    "siglip2": {"patch_size": 8, "max_num_patches": 64},
    "detr": {"size": {"shortest_edge": 64, "longest_edge": 100}},
    "dpt": {"size": {"height": 64, "width": 64}, "keep_aspect_ratio": True, "ensure_multiple_of": 8},
    "swin2sr": {},
    "mask2former": {"size": {"shortest_edge": 64, "longest_edge": 100}},
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_what_is_read_is_what_the_processor_makes(name: str) -> None:
    processor = processor_class(name)(**PROCESSORS[name])
    pictures = [noise(20 + 7 * i, 90 - 5 * i, seed=i) for i in range(12)]
    expected = [processor(images=picture, return_tensors="pt") for picture in pictures]
    reader = ImageReader(processor, LIMITS)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda picture: reader.read(encoded(picture, "PNG"), ""), pictures * 3))
    for i, inputs in enumerate(found):
        wanted = expected[i % len(pictures)]
        assert (inputs.width, inputs.height) == pictures[i % len(pictures)].size
        assert all(torch.equal(inputs.tensors[key], wanted[key][0]) for key in inputs.tensors)
        assert "pixel_values" in inputs.tensors


def test_only_what_can_lie_side_by_side_is_of_one_kind() -> None:
    reader = ImageReader(processor_class("swin2sr")(), LIMITS)
    one, same, other = (reader.process(noise(*size)) for size in ((20, 30), (23, 31), (30, 20)))
    assert one.kind == same.kind != other.kind
    assert (one.length, reader.process(noise(500, 500)).length) == (1, 6)


def test_what_a_processor_cannot_resize_is_refused() -> None:
    reader = ImageReader(processor_class("glpn")(), LIMITS)
    with pytest.raises(ImageRefused, match="of 20 × 300 pixels cannot be resized to what the model reads"):
        reader.process(noise(20, 300))
