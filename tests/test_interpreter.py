"""The patched Triton interpreter computes what the unpatched one would."""

import itertools
from collections.abc import Callable
from functools import partial
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


def operands(semantic: Any, value: int) -> list[Any]:
    """Returns numbers, scalars, blocks and pointers of all shapes that can meet; those with a type hold the value."""
    kinds = (tl.int1, tl.int32, tl.int64, tl.uint32, tl.float16)
    scalars = [semantic.scalar_constant(value % 2 if kind == tl.int1 else value, kind) for kind in kinds]
    rows = [semantic.full([4], value + 0.5, tl.float32), semantic.full([4], value, tl.int32)]
    rows.append(semantic.full([1], value, tl.int64))
    tables = [semantic.full(shape, value - 0.5, tl.bfloat16) for shape in ([1, 4], [2, 1], [2, 4])]
    pointers = [semantic.cast(semantic.scalar_constant(64 * value, tl.int64), tl.pointer_type(tl.float32))]
    pointers.append(semantic.splat(pointers[0], [2, 4]))
    return [*NUMBERS, *scalars, *rows, *tables, *pointers]


def told(function: Callable[..., Any], *given: Any) -> Any:
    """Returns types, shape and bytes of a result, or why there is none."""
    try:
        found = function(*given)
    except Exception as error:
        return repr(error)
    if isinstance(found, tuple):
        return [told(lambda each=each: each) for each in found]
    if not isinstance(found, tl.core.tensor):
        return found
    return found.type.name, found.dtype.name, found.handle.data.shape, found.handle.data.tobytes()


class Passing:
    """Takes the builder's place, so that no function notes what it asks or plays what it has noted."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)


OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "and", "or", "xor", "lt", "le", "gt", "ge", "eq", "ne")


@pytest.mark.parametrize("name", [*OPERATORS, "minimum", "maximum", "fdiv", "broadcast"])
def test_what_is_played_again_is_what_would_be_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import interpreter

    quicken()
    interpreter._patch_lang(doubled.fn)  # as the first launch does
    semantic: Any = interpreter.interpreter_semantic
    function = getattr(tl.core.tensor, f"__{name}__", None) or getattr(tl, name)
    own = partial(function.member, _semantic=semantic)
    with np.errstate(all="ignore"):
        for value in (1, 6):
            for left, right in itertools.product(operands(semantic, value), repeat=2):
                monkeypatch.setattr(semantic, "builder", Passing(interpreter.interpreter_builder))
                expected = told(own, left, right)
                monkeypatch.undo()
                assert told(function, left, right) == expected, (left, right)


@triton.jit
def tell(source, target, chosen, WIDTH: tl.constexpr):  # noqa: N803
    columns = tl.arange(0, WIDTH)
    number = tl.load(source + tl.program_id(0), mask=tl.load(chosen) == 1, other=-1)
    tl.store(target + columns, number + columns + number * number)
    tl.atomic_add(target + WIDTH, 1)


def test_effects_and_looks_at_values_are_never_played_from_memory() -> None:
    source, target = torch.tensor([3, 4]), torch.zeros(5, dtype=torch.int64)
    for chosen, expected in ((1, [20, 21, 22, 23]), (0, [0, 1, 2, 3]), (1, [20, 21, 22, 23])):
        tell[(2,)](source, target, torch.tensor([chosen]), WIDTH=4)
        assert target[:4].tolist() == expected
    assert target[4] == 6


def test_numbers_that_are_remembered_cannot_be_written_to() -> None:
    from triton.runtime import interpreter

    quicken()
    interpreter._patch_lang(doubled.fn)
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            tl.arange(0, 8).handle.data[:] = 6
