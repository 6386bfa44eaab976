from io import BytesIO
from itertools import groupby

import numpy as np
import pytest
from PIL import Image

from services.engine.media.masks import bounding_box, mask_of, mask_png, pixel_count, run_lengths


def masks(seed: int) -> list[np.ndarray]:
    """Returns random masks: dense, sparse, and of connected regions, in shapes down to a line and a pixel."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 40, 2)
    shares = generator.random((height, width))
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    disc = (across - width / 2) ** 2 + (down - height / 2) ** 2 < (min(height, width) / 2) ** 2
    return [
        shares < 0.5,
        shares < 0.03,
        shares < 0.97,
        disc,
        shares[:1] < 0.5,
        shares[:, :1] < 0.5,
        shares[:1, :1] < 0.5,
    ]


def by_hand(mask: np.ndarray) -> list[int]:
    """Returns run lengths, counted pixel by pixel."""
    height, width = mask.shape
    pixels = [bool(mask[y, x]) for x in range(width) for y in range(height)]
    lengths = [len(list(run)) for _, run in groupby(pixels)]
    return [0, *lengths] if pixels[0] else lengths


@pytest.mark.parametrize("seed", range(40))
def test_runs_go_down_the_columns_and_back(seed: int) -> None:
    for mask in masks(seed):
        lengths = run_lengths(mask)
        assert lengths == by_hand(mask)
        assert all(type(length) is int for length in lengths)
        assert sum(lengths) == mask.size
        assert all(lengths[1:])
        assert (mask_of(lengths, *mask.shape) == mask).all()


def test_the_first_run_is_outside() -> None:
    mask = np.array([[True, False, False], [True, True, False]])
    assert run_lengths(mask) == [0, 2, 1, 1, 2]
    assert run_lengths(~mask) == [2, 1, 1, 2]
    assert run_lengths(np.ones((3, 2), dtype=bool)) == [0, 6]
    assert run_lengths(np.zeros((3, 2), dtype=bool)) == [6]
    assert run_lengths(np.zeros((0, 2), dtype=bool)) == []


def test_a_view_has_the_runs_of_what_is_seen() -> None:
    mask = np.random.default_rng(3).random((30, 40)) < 0.5
    for view in (mask[::2, 5:31:3], mask.T, mask[::-1], np.asfortranarray(mask)):
        assert run_lengths(view) == by_hand(view)


@pytest.mark.parametrize("lengths", [[5], [7], [], [0, 3, 2], [-1, 7]])
def test_runs_that_do_not_fill_the_mask_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError):
        mask_of(lengths, 2, 3)


@pytest.mark.parametrize("seed", range(10))
def test_a_png_has_one_bit_per_pixel_and_white_inside(seed: int) -> None:
    for mask in masks(seed):
        png = mask_png(mask)
        assert png[24:26] == b"\1\0", "one bit, grey"
        image = Image.open(BytesIO(png))
        assert image.mode == "1"
        assert (np.asarray(image.convert("L")) == np.where(mask, 255, 0)).all()


@pytest.mark.parametrize("seed", range(20))
def test_box_and_pixels_are_those_of_the_region(seed: int) -> None:
    for mask in masks(seed):
        assert pixel_count(mask) == sum(map(sum, mask.tolist()))
        if mask.any():
            assert bounding_box(mask) == Image.fromarray(mask).getbbox()


def test_a_single_pixel_is_a_box_of_width_one() -> None:
    mask = np.zeros((5, 9), dtype=bool)
    mask[2, 7] = True
    assert bounding_box(mask) == (7, 2, 8, 3)
    assert all(type(edge) is int for edge in bounding_box(mask))


def test_an_empty_region_has_no_box() -> None:
    with pytest.raises(ValueError):
        bounding_box(np.zeros((5, 9), dtype=bool))
