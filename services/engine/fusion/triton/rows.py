"""Kernels over rows: the root-mean-square norm with a sum before or behind it, and the activation of gated layers."""

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
    """Writes one row of `[T, WIDTH]`: normed, scaled, and with RESIDUAL added to the residual's row.

    With PARTS, the input is the row plus its rows in `parts` `[PARTS, T, WIDTH]`, summed as a split-K product would.
    With COPY, the input, with parts added, is also stored to `copy`.
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
    """Writes BLOCK numbers of one row of `[T, UNITS]`: activation(gate) * up, of a row `[gate | up]` of `[T, 2 *
    UNITS]`.
    """
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
