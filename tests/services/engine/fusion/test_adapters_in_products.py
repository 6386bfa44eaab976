"""Low-rank products of adapters equal the formula for each row, and rows without an adapter keep their bits."""

import random

import pytest
import torch
from torch import Tensor, nn

from services.engine.adapters.beside import Picked
from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
from services.engine.fusion.triton.few_rows import FewRows
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.low_rank import LowRank
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.native.linear import Gate


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


def filled(stack: LowRank, ranks: tuple[int, ...]) -> LowRank:
    """Fills in random factors with the rank of each adapter. The second adapter does not change the last layer."""
    parts = len(stack.starts) - 1
    for adapter, rank in enumerate(ranks):
        for part in range(parts - (adapter == 1)):
            for room in stack.room(adapter, part, rank):
                room.copy_(torch.randn(room.shape) / rank**0.5)
    return stack


def added(stack: LowRank, numbers: Tensor, rows: Tensor) -> Tensor:
    """Returns the product of each row's adapter, in float64."""
    outs: list[Tensor] = []
    for number, row in zip(numbers.tolist(), rows.double(), strict=True):
        each: list[Tensor] = []
        for part, (start, end) in enumerate(zip(stack.starts, stack.starts[1:], strict=False)):
            first, second = stack.room(max(number, 0), part, stack.rank)
            each.append(second.double() @ (first.double() @ row) if number >= 0 else row.new_zeros(end - start))
        outs.append(torch.cat(each))
    return torch.stack(outs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "count", "width", "units", "ranks"),
    [
        (torch.float32, 37, 300, [96, 32, 40], (9, 3, 1)),  # a last tile of 8 numbers, an incomplete block of columns
        (torch.float16, 3, 4400, [128], (70, 16)),  # more ranks than a program takes, and a width with most splits
        (torch.float16, 1, 64, [48, 48], (4, 4)),
    ],
)
def test_rows_add_what_their_adapters_compute(
    device: str, dtype: torch.dtype, count: int, width: int, units: list[int], ranks: tuple[int, ...]
) -> None:
    picked, like = Picked(), torch.empty(0, dtype=dtype, device=device)
    stack = filled(LowRank(picked, len(ranks), width, units, max(ranks), like), ranks)
    numbers = torch.randint(-1, len(ranks), (count,), device=device)
    numbers[0] = 0
    rows, before = (torch.randn(count, size).to(like) for size in (width, sum(units)))
    output = before.clone()
    stack.add(output, rows)  # no adapter is picked yet
    assert torch.equal(output, before)
    picked.numbers = numbers
    stack.add(output, rows)
    exact = added(stack, numbers, rows)
    error = (output.double() - before.double() - exact).norm() / exact.norm()
    assert float(error) <= (1e-5 if dtype is torch.float32 else 5e-3)
    none = numbers < 0
    assert torch.equal(output[none], before[none])
    alone = before[:1].clone()  # a row's bits do not depend on other rows
    picked.numbers = numbers[:1]
    stack.add(alone, rows[:1])
    assert torch.equal(alone, output[:1])


@pytest.mark.parametrize("device", DEVICES)
def test_a_gate_within_a_product_gives_other_rows_the_same_bits(device: str) -> None:
    with torch.inference_mode():
        linears = [nn.Linear(144, size, False, dtype=torch.float16, device=device) for size in (48, 48)]
        down = nn.Linear(48, 144, False, dtype=torch.float16, device=device)
        mlp, picked = GpuMlp(GpuLinear(linears), GpuLinear([down]), Gate.SILU), Picked()
        pair = mlp.pair
        # Multiples of 1/32 have exact sums: the interpreter uses BLAS, whose order of addition differs by place.
        pair.weight.copy_(torch.randint(-32, 33, pair.weight.shape) / 32)
        mlp.few_rows = FewRows(pair.weight, None, None, {16: None})
        pair.low_rank = filled(LowRank(picked, 2, 144, [48, 48], 4, pair.weight), (4, 4))
        rows = (torch.randint(-32, 33, (5, 144)) / 32).to(pair.weight)
        plain = mlp.gated(rows)
        picked.numbers = numbers = torch.tensor([-1, 1, -1, 0, -1], device=device)
        found, none = mlp.gated(rows), numbers < 0
        assert torch.equal(found[none], plain[none])
        gates, through = (rows.double() @ pair.weight.double().T + added(pair.low_rank, numbers, rows)).chunk(2, 1)
        exact = nn.functional.silu(gates) * through
        assert float((found.double() - exact).norm() / exact.norm()) <= 2e-3
        assert float((plain - found)[~none].norm()) > 0.1
