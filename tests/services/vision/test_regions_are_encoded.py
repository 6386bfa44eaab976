from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sensorium.errors import InvalidArgument
from services.engine.media.masks import mask_of
from services.engine.segmentation.region import Region
from services.vision.segmentation.ask import MaskFormat
from services.vision.segmentation.encoded_regions import encoded_regions

NAMES = {0: "sky", 1: "cat"}


def drawn(seed: int, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((40, 30)) < share


def test_regions_are_in_order_and_empty_ones_left_out() -> None:
    regions = [
        Region(1, 0.5, drawn(1)),
        Region(0, 0.5, drawn(2)),
        Region(7, 0.9, drawn(3)),
        Region(1, 0.8, np.zeros((40, 30), dtype=bool)),
    ]
    found = encoded_regions(regions, NAMES, MaskFormat.NONE, 10_000)
    assert [(each.label, each.label_index, each.score) for each in found] == [
        ("LABEL_7", 7, 0.9), ("sky", 0, 0.5), ("cat", 1, 0.5)
    ]  # fmt: skip
    prompted = [Region(None, score, drawn(1), prompt) for prompt, score in ((1, 0.9), (0, 0.1), (0, 0.2))]
    found = encoded_regions(prompted, {}, MaskFormat.NONE, 10_000)
    assert [(each.prompt_index, each.score, each.label) for each in found] == [
        (0, 0.2, None),
        (0, 0.1, None),
        (1, 0.9, None),
    ]


def test_masks_are_what_was_asked_for() -> None:
    mask = drawn(4)
    (runs,) = encoded_regions([Region(0, None, mask)], NAMES, MaskFormat.RUN_LENGTH, 10_000)
    assert runs.png is None
    assert np.array_equal(mask_of(runs.run_lengths or (), 40, 30), mask)
    (png,) = encoded_regions([Region(0, None, mask)], NAMES, MaskFormat.PNG, 10_000)
    assert png.run_lengths is None
    assert np.array_equal(np.asarray(Image.open(BytesIO(png.png or b""))), mask)
    (none,) = encoded_regions([Region(0, None, mask)], NAMES, MaskFormat.NONE, 10_000)
    assert none.run_lengths is None and none.png is None
    assert none.pixel_count == mask.sum()


@pytest.mark.parametrize("mask_format", [MaskFormat.RUN_LENGTH, MaskFormat.PNG])
def test_masks_that_no_message_holds_are_refused_before_all_are_made(mask_format: MaskFormat) -> None:
    made = 0

    def regions() -> object:
        nonlocal made
        for seed in range(100):
            made += 1
            yield Region(0, 0.5, drawn(seed))

    with pytest.raises(InvalidArgument, match="mask_format: makes masks that are more than a message may hold"):
        encoded_regions(regions(), NAMES, mask_format, 5_000)  # type: ignore[arg-type]
    assert made < 20
    assert len(encoded_regions(regions(), NAMES, MaskFormat.NONE, 64 * 100)) == 100  # type: ignore[arg-type]
