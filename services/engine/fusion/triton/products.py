"""The product of a few rows; weights of 8 bits are made wide where they are multiplied."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false, reportAssignmentType=false
# pyright: reportPossiblyUnboundVariable=false
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.activation import activated
from services.engine.fusion.triton.sums import summed

AT_ONCE = tl.constexpr(1 << 14)
"""Numbers of the splits that are asked for at once: 128 for each thread of four warps."""
FETCHED = tl.constexpr(128)
"""Columns of weights behind those that are read ahead, for which only the second cache asks then."""
_LINE = tl.constexpr(128)
"""Bytes."""


@triton.jit(do_not_specialize=["count"])
def multiply_rows(
    rows, weights, factors, bias, residual, parts, arrivals, output, count,
    UNITS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
    SPLITS: tl.constexpr, AHEAD: tl.constexpr, EAGER: tl.constexpr, PAIRED: tl.constexpr, FACTORS: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr, ACTIVATION: tl.constexpr, UNSUMMED: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes ROWS rows of TILE numbers of `[count, UNITS]`, of rows `[count, WIDTH]` and weights `[UNITS, WIDTH]`.

    With an activation the weights are `[2 * UNITS, WIDTH]`, those of the gates, then the others, and a program writes
    half of TILE numbers: it takes a gate and what that lets through by turns.

    The width is split among SPLITS programs, of which the last to be done adds up what all have found, in their order.
    UNSUMMED, that is left to whoever reads it: each writes its own to `parts` `[SPLITS, count, UNITS]`.
    Of its part of the width a program reads AHEAD columns of the weights before it waits for the rows, and lets the
    second cache ask for the next. FACTORS as in `multiply_row`.
    """
    if EARLY:
        gdc_launch_dependents()
    # What lies outside reads the last weights again, and is not written.
    if ACTIVATION:
        pairs = tl.minimum(tl.program_id(0) * TILE + tl.arange(0, TILE), 2 * UNITS - 1)
        read = pairs // 2 + pairs % 2 * UNITS
    else:
        read = tl.minimum(tl.program_id(0) * TILE + tl.arange(0, TILE), UNITS - 1)
    own = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    total = part_of_products(
        rows, weights, read, own, count, WIDTH, ROWS, TILE, BLOCK, SPLITS, AHEAD, EAGER, PAIRED, EARLY
    )  # fmt: skip
    if UNSUMMED:
        units = tl.program_id(0) * TILE + tl.arange(0, TILE)
        at = (tl.program_id(2) * count + own).to(tl.int64)[None, :] * UNITS + units[:, None]
        tl.store(parts + at, total, mask=(units < UNITS)[:, None] & (own < count)[None, :])
    elif SPLITS == 1:
        finish(total, read, own, factors, bias, residual, output, count, UNITS, FACTORS, BIAS, RESIDUAL, ACTIVATION)
    else:
        place = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        within = tl.arange(0, TILE)[:, None] * ROWS + tl.arange(0, ROWS)[None, :]
        parts += place.to(tl.int64) * SPLITS * TILE * ROWS + within
        tl.store(parts + tl.program_id(2) * TILE * ROWS, total)
        tl.debug_barrier()
        if tl.atomic_add(arrivals + place, 1, sem="acq_rel") == SPLITS - 1:
            tl.store(arrivals + place, 0)
            if TILE * ROWS * SPLITS <= AT_ONCE:
                whole = summed(parts, within >= 0, TILE * ROWS, count > 0, SPLITS)
            else:
                whole = tl.zeros([TILE, ROWS], dtype=tl.float32)
                for each in tl.static_range(SPLITS):
                    whole += tl.load(parts + each * TILE * ROWS, cache_modifier=".cg")
            finish(whole, read, own, factors, bias, residual, output, count, UNITS, FACTORS, BIAS, RESIDUAL, ACTIVATION)


@triton.jit
def part_of_products(
    rows, weights, read, own, count, WIDTH: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    BLOCK: tl.constexpr, SPLITS: tl.constexpr, AHEAD: tl.constexpr, EAGER: tl.constexpr, PAIRED: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """Returns the products `[TILE, ROWS]` of the weights `read` and the rows `own`, over this program's columns."""
    LENGTH: tl.constexpr = (WIDTH + BLOCK * SPLITS - 1) // (BLOCK * SPLITS) * BLOCK
    WHOLE: tl.constexpr = WIDTH % (BLOCK * SPLITS) == 0
    split = tl.program_id(2)
    weights += read.to(tl.int64)[:, None] * WIDTH
    rows += tl.minimum(own, count - 1).to(tl.int64)[None, :] * WIDTH
    total = tl.zeros([TILE, ROWS], dtype=tl.float32)
    if AHEAD:
        first = split * LENGTH + tl.arange(0, AHEAD)
        ahead = loaded(weights + first[None, :], (first < WIDTH)[None, :], WHOLE)
    if EARLY:
        if AHEAD and LENGTH - AHEAD >= FETCHED:
            step: tl.constexpr = _LINE * 8 // weights.dtype.element_ty.primitive_bitwidth
            fetch(weights + (split * LENGTH + AHEAD + tl.arange(0, FETCHED // step) * step)[None, :], WHOLE)
        gdc_wait()
    if AHEAD:
        beside = loaded(rows + first[:, None], (first < WIDTH)[:, None], WHOLE)
        if not EAGER:
            total = dotted(ahead, beside, total, PAIRED)
    columns = split * LENGTH + tl.arange(0, BLOCK)
    weights += columns[None, :]
    rows += columns[:, None]
    for start in tl.range(AHEAD, LENGTH, BLOCK):
        inside = columns + start < WIDTH
        weight = loaded(weights + start, inside[None, :], WHOLE)
        row = loaded(rows + start, inside[:, None], WHOLE)
        total = dotted(weight, row, total, PAIRED)
    if AHEAD and EAGER:
        total = dotted(at_once(ahead), at_once(beside), total, PAIRED)
    return total


@triton.jit
def fetch(lines, WHOLE: tl.constexpr):
    """Lets the second cache ask for lines of memory, for which nobody waits; of what is no WHOLE none, as some may end.

    While a program waits for the kernel in front, memory would have nothing to do otherwise.
    """
    if WHOLE and tl.target_info.is_cuda():
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", [lines.to(tl.int64, bitcast=True)], dtype=tl.int32,
            is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def at_once(numbers):
    """Returns the numbers; where they are loaded, all of them are asked for before the first is put to use.

    Left alone the compiler takes few registers, and asks for some only when those before are there and put away.
    """
    if tl.target_info.is_cuda():
        PACK: tl.constexpr = 32 // numbers.dtype.primitive_bitwidth
        numbers = tl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [numbers], dtype=numbers.dtype, is_pure=False, pack=PACK
        )
    return numbers


@triton.jit
def loaded(at, inside, WHOLE: tl.constexpr):
    """Returns what lies there, and zeros for what is not inside; of a WHOLE all is."""
    return tl.load(at) if WHOLE else tl.load(at, mask=inside, other=0.0)


@triton.jit
def dotted(numbers, rows, total, PAIRED: tl.constexpr):
    """Returns `total` `[TILE, ROWS]` and the products of weights `[TILE, BLOCK]` and rows `[BLOCK, ROWS]`.

    A thread gives Hopper's tensor cores pairs of columns that lie eight apart: of 8-bit numbers it would read two bytes
    at once, and pack them. If PAIRED, pairs change places in weights and rows alike, and it reads eight bytes at once.
    Other tensor cores, which on Hopper multiply tiles of fewer units too, have orders that Triton knows by itself.
    """
    TILE: tl.constexpr = numbers.shape[0]
    BLOCK: tl.constexpr = numbers.shape[1]
    narrow: tl.constexpr = numbers.dtype.primitive_bitwidth == 8 and rows.dtype.primitive_bitwidth == 16
    hopper: tl.constexpr = tl.target_info.cuda_capability_geq(9, 0) and not tl.target_info.cuda_capability_geq(10, 0)
    if PAIRED and narrow and TILE >= 64 and BLOCK % 32 == 0 and (hopper or not tl.target_info.is_cuda()):
        numbers = numbers.reshape([TILE, BLOCK // 32, 4, 4, 2]).permute([0, 1, 3, 2, 4]).reshape([TILE, BLOCK])
        rows = rows.reshape([BLOCK // 32, 4, 4, 2, rows.shape[1]]).permute([0, 2, 1, 3, 4])
        rows = rows.reshape([BLOCK, rows.shape[4]])
    return tl.dot(widened(numbers, rows.dtype), rows, total, input_precision="ieee")


@triton.jit
def widened(numbers, KIND: tl.constexpr):
    """Returns weights in the type of the rows.

    A float of 8 bits becomes one of 16 and then of 32 before it: to bfloat16 at once it goes by a slow instruction.
    """
    if numbers.dtype.is_fp8():
        numbers = numbers.to(tl.float16).to(tl.float32)
    return numbers.to(KIND)


@triton.jit
def scaled(total, at, known, factors, bias, FACTORS: tl.constexpr, BIAS: tl.constexpr):
    """Returns sums `[TILE, ROWS]` times the factors of their units, and with their bias added."""
    if FACTORS:
        total *= tl.load(factors + at, mask=known, other=0.0)[:, None]
    if BIAS:
        total += tl.load(bias + at, mask=known, other=0.0).to(tl.float32)[:, None]
    return total


@triton.jit
def finish(
    total,
    read,
    own,
    factors,
    bias,
    residual,
    output,
    count,
    UNITS: tl.constexpr,
    FACTORS: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Writes sums `[TILE, ROWS]` of the weights `read`, times their factors, and with bias and residual added.

    With an activation it writes what each gate lets through.
    """
    TILE: tl.constexpr = total.shape[0]
    result = scaled(total, read, read >= 0, factors, bias, FACTORS, BIAS)
    if ACTIVATION:
        gate, through = tl.split(result.reshape([TILE // 2, 2, total.shape[1]]).permute([0, 2, 1]))
        result = activated(gate, ACTIVATION) * through
    units = tl.program_id(0) * result.shape[0] + tl.arange(0, result.shape[0])
    at = own.to(tl.int64)[None, :] * UNITS + units[:, None]
    inside = (units < UNITS)[:, None] & (own < count)[None, :]
    if RESIDUAL:
        result += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(output + at, result.to(output.dtype.element_ty), mask=inside)
