"""The patched Triton interpreter computes what the unpatched one would."""

import pytest
import torch

from tests.services.engine.kernel_devices import INTERPRETED

pytest.importorskip("triton")
import triton
import triton.language as tl

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")


@triton.jit
def doubled(number):
    return number + number


@triton.jit
def write_doubled(source, target, WIDTH: tl.constexpr):  # noqa: N803
    columns = tl.arange(0, WIDTH)
    row = tl.program_id(0) * WIDTH
    tl.store(target + row + columns, doubled(doubled(tl.load(source + row + columns))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64, torch.float64, torch.float16])
@pytest.mark.parametrize("width", [1, 4, 16])
def test_functions_are_interpreted_for_every_type_and_size(dtype: torch.dtype, width: int) -> None:
    source = torch.arange(3 * width).to(dtype).view(3, width)
    target = torch.zeros_like(source)
    write_doubled[(3,)](source, target, WIDTH=width)
    assert torch.equal(target, 4 * source)


@pytest.mark.parametrize("element", [tl.float32, tl.int1, tl.pointer_type(tl.float16)])
@pytest.mark.parametrize("shape", [[2], [2, 8], [8, 2], [tl.constexpr(16)]])
def test_a_type_made_twice_has_what_the_first_has(element: tl.dtype, shape: list[int]) -> None:
    first, second = (tl.block_type(element, shape) for _ in range(2))
    assert first == second
    assert second.element_ty == element
    assert list(second.shape) == [getattr(size, "value", size) for size in shape]
    assert second.name == str(first) == f"<{first.shape}, {element}>"
