"""Kernels for mixtures of experts: each chosen expert's weights are read once for all rows that chose it."""

# ruff: noqa: N803, SIM108 - constants of a kernel are written in capitals, and its branches are chosen by statements
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.activation import activated
from services.engine.fusion.triton.products import dotted, loaded, scaled


@triton.jit(do_not_specialize=["pairs"])
def arrange_pairs(
    chosen,
    experts,
    counts,
    places,
    pairs,
    BLOCK: tl.constexpr,
    EACH: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Groups the `pairs` (a row and one of its choices) by expert: writes a slot's expert, number of pairs and pair
    indices.

    With EACH there is a slot for each expert, else one for each pair: the first pair's slot of an expert then has all
    of its pairs, and the others have none.
    """
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    slot = tl.program_id(0)
    own = tl.arange(0, BLOCK)
    found = tl.load(chosen + own, mask=own < pairs, other=-1).to(tl.int32)
    if EACH:
        expert = slot
    else:
        expert = tl.load(chosen + slot).to(tl.int32)
    taken = (found == expert).to(tl.int32)
    if not EACH:
        earlier = tl.sum(tl.where(own < slot, taken, 0), axis=0)
        taken = tl.where(earlier > 0, 0, taken)
    tl.store(experts + slot, expert)
    tl.store(counts + slot, tl.sum(taken, axis=0))
    tl.store(places + slot * pairs + tl.cumsum(taken, axis=0) - 1, own, mask=taken > 0)


@triton.jit(do_not_specialize=["length"])
def multiply_chosen(
    rows, weights, factors, bias, experts, counts, places, output, length,
    UNITS: tl.constexpr, WIDTH: tl.constexpr, CHOICES: tl.constexpr, EXPERT_STRIDE: tl.constexpr,
    UNIT_STRIDE: tl.constexpr, COLUMN_STRIDE: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    BLOCK: tl.constexpr, FACTORS: tl.constexpr, BIAS: tl.constexpr, ACTIVATION: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes TILE outputs of `[pairs, UNITS]` for all pairs of one slot, ROWS pairs at a time.

    Pair p multiplies row p // CHOICES of `[.., WIDTH]` with the weights `[UNITS, WIDTH]` of its expert; with an
    activation `[2 * UNITS, WIDTH]`, first gate, then up. `places` is `[slots, length]`.
    """
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    slot = tl.program_id(1)
    count = tl.load(counts + slot)
    expert = tl.load(experts + slot).to(tl.int64)
    outputs: tl.constexpr = 2 * UNITS if ACTIVATION else UNITS
    units = tl.program_id(0) * TILE + tl.arange(0, TILE)
    columns = tl.arange(0, BLOCK)
    known = units < UNITS
    read = units if UNITS % TILE == 0 else tl.minimum(units, UNITS - 1)  # units beyond the last are not stored
    weights += expert * EXPERT_STRIDE + read.to(tl.int64)[:, None] * UNIT_STRIDE + columns[None, :] * COLUMN_STRIDE
    for start in tl.range(0, count, ROWS):
        within = start + tl.arange(0, ROWS)
        pair = tl.load(places + slot * length + within, mask=within < count, other=0).to(tl.int64)
        at = rows + (pair // CHOICES)[None, :] * WIDTH + columns[:, None]
        total, through = summed(
            at, weights, UNITS * UNIT_STRIDE, COLUMN_STRIDE, WIDTH, ROWS, TILE, BLOCK, ACTIVATION
        )  # fmt: skip
        result = scaled(total, expert * outputs + units, known, factors, bias, FACTORS, BIAS)
        if ACTIVATION:
            let = scaled(through, expert * outputs + UNITS + units, known, factors, bias, FACTORS, BIAS)
            result = activated(result, ACTIVATION) * let
        place = output + pair[None, :] * UNITS + units[:, None]
        tl.store(place, result.to(output.dtype.element_ty), mask=known[:, None] & (within < count)[None, :])


@triton.jit
def summed(
    at, weights, OTHERS: tl.constexpr, COLUMN_STRIDE: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    TILE: tl.constexpr, BLOCK: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    """Returns products `[TILE, ROWS]` of weights `[TILE, WIDTH]` and rows, and with an activation also those of the up
    weights, OTHERS numbers behind the gate weights.

    `at` `[BLOCK, ROWS]` and `weights` `[TILE, BLOCK]` point to the first columns.
    """
    columns = tl.arange(0, BLOCK)
    total = tl.zeros([TILE, ROWS], dtype=tl.float32)
    through = total
    for column in tl.range(0, WIDTH, BLOCK):
        here, inside = weights + column * COLUMN_STRIDE, columns + column < WIDTH
        row = loaded(at + column, inside[:, None], WIDTH % BLOCK == 0)
        weight = loaded(here, inside[None, :], WIDTH % BLOCK == 0)
        if ACTIVATION:
            other = loaded(here + OTHERS, inside[None, :], WIDTH % BLOCK == 0)
        total = dotted(weight, row, total, True)
        if ACTIVATION:
            through = dotted(other, row, through, True)
    return total, through


@triton.jit
def add_choices(
    products,
    shares,
    output,
    UNITS: tl.constexpr,
    CHOICES: tl.constexpr,
    BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Writes BLOCK numbers of a row of `[T, UNITS]`: the sum of its products `[T, CHOICES, UNITS]` times shares."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < UNITS
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for choice in tl.static_range(CHOICES):
        pair = row * CHOICES + choice
        product = tl.load(products + pair * UNITS + columns, mask=inside, other=0.0).to(tl.float32)
        total += product * tl.load(shares + pair).to(tl.float32)
    tl.store(output + row * UNITS + columns, total.to(output.dtype.element_ty), mask=inside)
