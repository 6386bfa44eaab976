"""The product of one row, as fast as the weights come: with the norm before it, and the gate or the sum behind it."""

# ruff: noqa: N803, N806, SIM108 - constants of a kernel are written in capitals, and its branches are chosen by statements
# pyright: reportPossiblyUnboundVariable=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.activation import activated


@triton.jit
def load_weights(at, units, columns, UNITS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Returns `[ROWS, BLOCK]`, zeros outside; each is read once, so it need not stay in a cache."""
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
    """Writes ROWS numbers of `[UNITS]`, of a row `[WIDTH]` that is normalized before if NORM.

    The weights are `[UNITS, WIDTH]`, with an activation `[2 * UNITS, WIDTH]`: those of the gates, then the others. With
    FACTORS they are 8-bit numbers, and those of each unit are to be multiplied with its factor.
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
    # What does not depend on the sums is on its way before they are computed, each of which is waited for by all.
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
    """Returns what a row is multiplied with to be normalized: one by its root mean square."""
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
    """Returns sums of products `[ROWS, BLOCK / LANE]` of weights and the row, which are still to be added up, and with
    an activation those of the other weights.

    `own` and `other` are the first weights, of which `at` and `other_at` `[ROWS, BLOCK]` tell where they are, and
    `first_scales` the first scales.
    """
    # Numbers that a thread reads at once it also adds up at once: a sum for each would take its registers, and those
    # of the kernel behind, which is to begin before this one ends.
    LANE: tl.constexpr = min(128 // own.dtype.primitive_bitwidth, BLOCK)
    columns = tl.arange(0, BLOCK)
    total = tl.zeros([ROWS, BLOCK // LANE], dtype=tl.float32)
    through = total
    for start in tl.static_range(0, WIDTH, BLOCK):
        part = load_row(row, columns + start, WIDTH, BLOCK)
        if NORM:
            part *= first_scales if start == 0 else load_row(scales, columns + start, WIDTH, BLOCK)
        mine, theirs = own, other
        if start + BLOCK < WIDTH:  # the next ones are on the way while these are multiplied
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
    """Returns sums `[ROWS]` times the factors of their units, and with their bias added."""
    if FACTORS:
        sums *= tl.load(factors + units, mask=inside, other=0.0)
    if BIAS:
        sums += tl.load(bias + units, mask=inside, other=0.0).to(tl.float32)
    return sums
