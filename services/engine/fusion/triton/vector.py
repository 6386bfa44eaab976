"""Kernel for the product of one row, at the speed of reading the weights, with the norm before and the gate or sum
behind.
"""

# ruff: noqa: N803, N806, SIM108 - constants of a kernel are written in capitals, and its branches are chosen by statements
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.activation import activated


@triton.jit
def load_weights(at, units, columns, UNITS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Returns `[ROWS, BLOCK]`, zeros outside. Weights are read once, so they need not stay in the cache."""
    if UNITS % ROWS == 0 and WIDTH % BLOCK == 0:
        found = tl.load(at, eviction_policy="evict_first")
    else:
        inside = (units < UNITS)[:, None] & (columns < WIDTH)[None, :]
        found = tl.load(at, mask=inside, other=0.0, eviction_policy="evict_first")
    return found


@triton.jit
def load_row(row, columns, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Returns float32 `[BLOCK]`, zeros outside."""
    if WIDTH % BLOCK == 0:
        found = tl.load(row + columns)
    else:
        found = tl.load(row + columns, mask=columns < WIDTH, other=0.0)
    return found.to(tl.float32)


@triton.jit
def multiplied(weights, part, LANE: tl.constexpr):
    """Returns float32 `[ROWS, BLOCK / LANE]`: products `[ROWS, BLOCK]`, of which LANE neighbours are added up."""
    products = weights.to(tl.float32) * part[None, :]
    return tl.sum(products.reshape([products.shape[0], products.shape[1] // LANE, LANE]), axis=2)


@triton.jit
def multiply_row(
    row, weights, factors, scales, bias, residual, output, epsilon,
    UNITS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, FACTORS: tl.constexpr,
    NORM: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, ACTIVATION: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes ROWS outputs of `[UNITS]`, of a row `[WIDTH]`, which is normed first if NORM.

    Weights are `[UNITS, WIDTH]`; with an activation `[2 * UNITS, WIDTH]`, first gate, then up. With FACTORS they are
    8-bit numbers, and each output is multiplied with its factor.
    """
    if EARLY:
        gdc_launch_dependents()
    units = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    at = weights + units.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    own = load_weights(at, units, columns, UNITS, WIDTH, ROWS, BLOCK)
    other_at, other = at, own
    if ACTIVATION:
        other_at = at + UNITS * WIDTH
        other = load_weights(other_at, units, columns, UNITS, WIDTH, ROWS, BLOCK)
    # Issue loads that do not depend on sums first: all threads have to wait for each sum.
    inside = units < UNITS
    first_scales = load_row(scales, columns, WIDTH, BLOCK) if NORM else 1.0
    if EARLY:
        gdc_wait()
    added = tl.load(residual + units, mask=inside, other=0.0).to(tl.float32) if RESIDUAL else 0.0
    share = 1.0
    if NORM:
        share = share_of(row, epsilon, WIDTH, BLOCK)
    total, through = lanes_of(
        row, scales, first_scales, at, own, other_at, other, units, UNITS, WIDTH, ROWS, BLOCK, NORM, ACTIVATION
    )  # fmt: skip
    result = tl.sum(total, axis=1) * share
    result = finished(result, factors, bias, units, inside, FACTORS, BIAS)
    if ACTIVATION:
        factor = tl.sum(through, axis=1) * share
        factor = finished(factor, factors + UNITS, bias + UNITS, units, inside, FACTORS, BIAS)
        result = activated(result, ACTIVATION) * factor
    if RESIDUAL:
        result += added
    tl.store(output + units, result.to(output.dtype.element_ty), mask=inside)


@triton.jit
def share_of(row, epsilon, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Returns the factor that norms a row: 1 / its root mean square."""
    squares = tl.zeros([BLOCK], dtype=tl.float32)
    columns = tl.arange(0, BLOCK)
    for start in tl.static_range(0, WIDTH, BLOCK):
        part = load_row(row, columns + start, WIDTH, BLOCK)
        squares += part * part
    return tl.rsqrt(tl.sum(squares, axis=0) / WIDTH + epsilon)


@triton.jit
def lanes_of(
    row, scales, first_scales, at, own, other_at, other, units, UNITS: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, NORM: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    """Returns partial sums `[ROWS, BLOCK / LANE]` of the products of weights and row; with an activation also those of
    the up weights, else zeros.

    `own` and `other` are the first blocks of the weights at `at` and `other_at`, pointers `[ROWS, BLOCK]`, and
    `first_scales` the first block of the norm's scales.
    """
    # A thread adds up the numbers of one load at once. A sum for each number would take more registers, also from the
    # next kernel, which begins before this one ends.
    LANE: tl.constexpr = min(128 // own.dtype.primitive_bitwidth, BLOCK)
    columns = tl.arange(0, BLOCK)
    total = tl.zeros([ROWS, BLOCK // LANE], dtype=tl.float32)
    through = total
    for start in tl.static_range(0, WIDTH, BLOCK):
        part = load_row(row, columns + start, WIDTH, BLOCK)
        if NORM:
            part *= first_scales if start == 0 else load_row(scales, columns + start, WIDTH, BLOCK)
        mine, theirs = own, other
        if start + BLOCK < WIDTH:  # load the next block while this one is multiplied
            own = load_weights(at + start + BLOCK, units, columns + start + BLOCK, UNITS, WIDTH, ROWS, BLOCK)
            if ACTIVATION:
                ahead = other_at + start + BLOCK
                other = load_weights(ahead, units, columns + start + BLOCK, UNITS, WIDTH, ROWS, BLOCK)
        total += multiplied(mine, part, LANE)
        if ACTIVATION:
            through += multiplied(theirs, part, LANE)
    return total, through


@triton.jit
def finished(sums, factors, bias, units, inside, FACTORS: tl.constexpr, BIAS: tl.constexpr):
    """Returns sums `[ROWS]` times their factors, plus their bias."""
    if FACTORS:
        sums *= tl.load(factors + units, mask=inside, other=0.0)
    if BIAS:
        sums += tl.load(bias + units, mask=inside, other=0.0).to(tl.float32)
    return sums
