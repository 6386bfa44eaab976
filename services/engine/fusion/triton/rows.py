"""Kernels over rows: the root-mean-square norm with the sum before or behind it, and the gate of a gated layer."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.activation import activated
from services.engine.fusion.triton.sums import summed


@triton.jit
def normalize_row(
    inputs,
    parts,
    scales,
    residual,
    copy,
    output,
    epsilon,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    RESIDUAL: tl.constexpr,
    COPY: tl.constexpr,
    PARTS: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Writes one row of `[T, WIDTH]`, normalized and scaled, and added to the residual's if there is one.

    Its copy, if one is made, is of what was given. With PARTS what is given is the sum of a row of `[T, WIDTH]` and of
    those of `parts` `[PARTS, T, WIDTH]`, as if a product had added them up.
    """
    if EARLY:
        gdc_launch_dependents()
    at = tl.program_id(0).to(tl.int64) * WIDTH
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    scale = tl.load(scales + columns, mask=inside, other=0.0)
    if EARLY:
        gdc_wait()
    given = tl.load(inputs + at + columns, mask=inside, other=0.0)
    if PARTS:
        sums = summed(parts + at + columns, inside, tl.num_programs(0).to(tl.int64) * WIDTH, epsilon >= 0.0, PARTS)
        given = (sums + given.to(tl.float32)).to(given.dtype)
    if COPY:
        tl.store(copy + at + columns, given, mask=inside)
    row = given.to(tl.float32)
    result = row * tl.rsqrt(tl.sum(row * row, axis=0) / WIDTH + epsilon) * scale
    if RESIDUAL:
        result += tl.load(residual + at + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(output + at + columns, result.to(output.dtype.element_ty), mask=inside)


@triton.jit
def gate_row(
    pairs,
    output,
    UNITS: tl.constexpr,
    BLOCK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Writes BLOCK numbers of one row of `[T, UNITS]`, from `[T, 2 * UNITS]`: the gates, then what they let through."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < UNITS
    at = pairs + row * 2 * UNITS + columns
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    through = tl.load(at + UNITS, mask=inside, other=0.0).to(tl.float32)
    result = activated(gate, ACTIVATION) * through
    tl.store(output + row * UNITS + columns, result.to(output.dtype.element_ty), mask=inside)
