"""The patched Triton interpreter computes what the unpatched one would."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from tests.interpreter import quicken
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


NUMBERS = [0, 1, -3, True, False, 0.0, -0.0, 1.5, float("inf"), float("nan"), 2**40]


def operands(semantic: Any) -> list[Any]:
    """Returns numbers, scalars, blocks and pointers of all shapes that can meet."""
    scalars = [semantic.scalar_constant(1, kind) for kind in (tl.int1, tl.int32, tl.int64, tl.uint32, tl.float16)]
    rows = [semantic.arange(0, 4), semantic.full([4], 2.5, tl.float32), semantic.full([1], 3, tl.int64)]
    tables = [semantic.full(shape, 7.5, tl.bfloat16) for shape in ([1, 4], [2, 1], [2, 4])]
    pointers = [semantic.cast(semantic.scalar_constant(64, tl.int64), tl.pointer_type(tl.float32))]
    pointers.append(semantic.splat(pointers[0], [2, 4]))
    return [*NUMBERS, *scalars, *rows, *tables, *pointers]


def told(meet: Any, *given: Any) -> list[tuple[str, str, tuple[int, ...], bytes]] | str:
    """Returns types, shapes and bytes of two operands that meet, or why they cannot."""
    try:
        both = meet(*given)
    except Exception as error:
        return repr(error)
    return [(each.type.name, each.dtype.name, each.handle.data.shape, each.handle.data.tobytes()) for each in both]


@pytest.mark.parametrize("divides", [False, True])
@pytest.mark.parametrize("pointers", [False, True])
def test_operands_meet_as_they_did_the_first_time(divides: bool, pointers: bool) -> None:
    from triton.runtime import interpreter

    quicken()
    semantic: Any = interpreter.interpreter_semantic
    meet = type(semantic).binary_op_type_checking_impl
    own = meet.__wrapped__
    with np.errstate(all="ignore"):
        for left, right in itertools.product(operands(semantic), repeat=2):
            asked = (semantic, left, right, pointers, pointers, not pointers, divides)
            expected = told(own, *asked)
            assert [told(meet, *asked), told(meet, *asked)] == [expected] * 2, (left, right)


def test_numbers_that_are_remembered_cannot_be_written_to() -> None:
    from triton.runtime import interpreter

    quicken()
    semantic: Any = interpreter.interpreter_semantic
    row = semantic.arange(0, 8)
    for _ in range(2):
        _, number = semantic.binary_op_type_checking_impl(row, 5)
    with pytest.raises(ValueError, match="read-only"):
        number.handle.data[:] = 6
