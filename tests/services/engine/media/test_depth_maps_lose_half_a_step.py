from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from services.engine.media.depth_map import depth_floats, depth_png, depth_range


def read(png: bytes) -> np.ndarray:
    image = Image.open(BytesIO(png))
    assert png[24:26] == b"\x10\0", "16 bits, grey"
    return np.asarray(image).astype(np.float64)


def depths(seed: int) -> np.ndarray:
    """Returns a random map; its unit and its least depth differ by many orders of magnitude from seed to seed."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 50, 2)
    unit, least = 10.0 ** generator.uniform(-6, 6), generator.normal() * 10.0 ** generator.uniform(-3, 3)
    return (generator.random((height, width)) * unit + least).astype(np.float32)


@pytest.mark.parametrize("seed", range(60))
def test_a_depth_is_offset_plus_scale_times_value(seed: int) -> None:
    depth = depths(seed)
    found = depth_png(depth)
    values = read(found.png)
    assert values.shape == depth.shape
    error = np.abs(found.offset + found.scale * values - depth)
    assert error.max() <= 0.51 * found.scale
    assert values.min() == 0
    assert found.offset == depth.min()
    for number in (found.scale, found.offset):
        assert number == float(np.float32(number)), "as it travels"
    assert values.max() == (65535 if depth.size > 1 and depth.max() > depth.min() else 0)


@pytest.mark.parametrize("depth", [0.0, -3.5, 1e-40, 3e38])
def test_a_map_of_one_depth_is_its_offset(depth: float) -> None:
    found = depth_png(np.full((3, 4), depth, dtype=np.float32))
    assert (found.scale, found.offset) == (1.0, float(np.float32(depth)))
    assert not read(found.png).any()


@pytest.mark.parametrize(
    "pair", [(0.0, 1e-45), (0.0, 1e-40), (-3e38, 3e38), (1e30, 1.0000001e30), (16777216.0, 16777218.0)]
)
def test_the_ends_of_float32_are_kept(pair: tuple[float, float]) -> None:
    depth = np.array([pair], dtype=np.float32)
    found = depth_png(depth)
    values = read(found.png)
    error = np.abs(found.offset + found.scale * values - depth.astype(np.float64))
    # Below a step of the smallest numbers float32 knows, all depths are one.
    assert error.max() <= max(0.51 * found.scale, 1e-40) and found.scale > 0


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_floats_are_little_endian_rows_of_what_was_given(dtype: str) -> None:
    depth = np.random.default_rng(4).normal(size=(7, 5)).astype(dtype)
    for given in (depth, depth.T, depth[::2, ::-1]):
        assert np.frombuffer(depth_floats(given), "<f4").tolist() == given.ravel().tolist()


def test_the_range_is_that_of_the_map() -> None:
    depth = depths(7)
    assert depth_range(depth) == (depth.min(), depth.max())
    assert all(type(end) is float for end in depth_range(depth))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("function", [depth_png, depth_floats, depth_range])
def test_a_depth_that_is_no_number_is_never_sent(function, wrong: float) -> None:
    depth = depths(3)
    depth[-1, 0] = wrong
    with pytest.raises(ValueError, match="not finite"):
        function(depth)
