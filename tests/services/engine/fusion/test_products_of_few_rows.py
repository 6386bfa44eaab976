"""Products of a few rows with 16-bit weights equal the formula, and their tiles cover the whole weight."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
from services.engine.fusion.triton.few_rows import FewRows, Tile, wide_tile_for, wide_tiles_for
from services.engine.native.linear import Gate


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("rows", "width", "units", "bias", "tile"),
    [
        (2, 512, 70, True, Tile(16, 64, 64, 1, ahead=256)),
        (19, 400, 33, False, Tile(16, 32, 32, 2, ahead=64)),  # the last split has only an incomplete block
        (17, 520, 66, True, Tile(16, 64, 64, 2, ahead=256)),  # the last split has no columns behind those loaded ahead
        (30, 1104, 65, True, None),  # all tiles of the race, some with four splits
    ],
)
def test_products_equal_float64(device: str, rows: int, width: int, units: int, bias: bool, tile: Tile | None) -> None:
    with torch.inference_mode():
        linear = nn.Linear(width, units, bias, dtype=torch.float16, device=device)
        kernel = FewRows(linear.weight, None, linear.bias, {16: None})
        given = torch.randn(rows, width, dtype=torch.float16, device=device)
        residual = torch.randn(rows, units, dtype=torch.float16, device=device)
        exact = functional.linear(given.double(), linear.weight.double(), linear.bias.double() if bias else None)
        for own in [tile] if tile else [None, *wide_tiles_for(rows, units, width, 132)]:
            added = residual.clone()
            for found, wanted in (
                (kernel(given, tile=own), exact),
                (kernel(given, residual=added, tile=own), exact + residual.double()),  # not added to the first
            ):
                assert float((found.double() - wanted).norm() / wanted.norm()) <= 1e-3
            assert found is added


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("rows", "width", "units", "bias", "tile"),
    [
        (19, 400, 33, True, Tile(16, 32, 64, 2, ahead=64)),
        (3, 144, 8, False, Tile(16, 16, 128, 1, ahead=128, eager=True)),
        (30, 1104, 40, True, None),
    ],
)
def test_gates_within_products_equal_float64(
    device: str, rows: int, width: int, units: int, bias: bool, tile: Tile | None
) -> None:
    with torch.inference_mode():
        linear = nn.Linear(width, 2 * units, bias, dtype=torch.float16, device=device)
        kernel = FewRows(linear.weight, None, linear.bias, {})
        given = torch.randn(rows, width, dtype=torch.float16, device=device)
        pairs = functional.linear(given.double(), linear.weight.double(), linear.bias.double() if bias else None)
        exact = functional.silu(pairs[:, :units]) * pairs[:, units:]
        for _ in range(2):  # the second run does not depend on the first
            found = kernel(given, gate=Gate.SILU, tile=tile)
            assert float((found.double() - exact).norm() / exact.norm()) <= 1e-3


def test_wide_tiles_cover_processors_and_have_room() -> None:
    for rows in (2, 16, 17, 32):
        for units in (1024, 4096, 28_672, 128_256):
            for width in (256, 2048, 4096, 14_336):
                tile = wide_tile_for(rows, units, width, 132)
                length = -(-width // (tile.block * tile.splits)) * tile.block
                assert tile.ahead <= length
                assert (length - tile.ahead) % tile.block == 0
                shared = 2 * (tile.units + tile.rows) * (tile.stages * tile.block + tile.ahead)
                assert shared <= 99 << 10  # shared memory of an L4, which has the least
