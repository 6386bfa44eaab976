"""Kernel for the product of a few rows. Weights of 8 bits are converted in registers, tile by tile."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.fusion.triton.activation import activated
from services.engine.fusion.triton.sums import summed

AT_ONCE = tl.constexpr(1 << 14)
"""Numbers of split-K parts that are loaded at once: 128 for each thread of four warps."""
FETCHED = tl.constexpr(128)
"""Columns of weights, behind those that are loaded ahead, that are prefetched into the L2 cache."""
_LINE = tl.constexpr(128)
"""Bytes of a cache line."""


@triton.jit(do_not_specialize=["count"])
def multiply_rows(
    rows, weights, factors, bias, residual, parts, arrivals, output, count,
    UNITS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
    SPLITS: tl.constexpr, AHEAD: tl.constexpr, EAGER: tl.constexpr, PAIRED: tl.constexpr, FACTORS: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr, ACTIVATION: tl.constexpr, UNSUMMED: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes a tile of ROWS rows and TILE outputs of `[count, UNITS]`, of rows `[count, WIDTH]` and weights `[UNITS,
    WIDTH]`.

    With an activation, weights are `[2 * UNITS, WIDTH]`, first gate, then up, and a program writes TILE / 2 outputs:
    its weights alternate between a row of gate and the matching row of up.

    Split-K: SPLITS programs share the width, and the last of them to finish adds up all parts, always in the same
    order. With UNSUMMED they write their parts to `parts` `[SPLITS, count, UNITS]`, for the next kernel to add up.
    Before a program waits for the rows, it loads AHEAD columns of its weights and prefetches some more. FACTORS as in
    `multiply_row`.
    """
    if EARLY:
        gdc_launch_dependents()
    # Outputs beyond the last one load the last weights again; they are not stored.
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
    """Returns the products `[TILE, ROWS]` of the weights `read` and the rows `own`, over the columns of this program's
    split.
    """
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
    """Prefetches cache lines into L2 without waiting, only if WHOLE: else some could lie behind the weights' end.

    This keeps memory busy while the program waits for the kernel in front of it.
    """
    if WHOLE and tl.target_info.is_cuda():
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", [lines.to(tl.int64, bitcast=True)], dtype=tl.int32,
            is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def at_once(numbers):
    """Returns the same numbers, but makes the compiler issue all their loads before the first number is used.

    By itself the compiler saves registers: it issues some loads only when earlier numbers have been used.
    """
    if tl.target_info.is_cuda():
        PACK: tl.constexpr = 32 // numbers.dtype.primitive_bitwidth
        numbers = tl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [numbers], dtype=numbers.dtype, is_pure=False, pack=PACK
        )
    return numbers


@triton.jit
def loaded(at, inside, WHOLE: tl.constexpr):
    """Loads numbers, with zeros in places that are not `inside`; if WHOLE, all are inside."""
    return tl.load(at) if WHOLE else tl.load(at, mask=inside, other=0.0)


@triton.jit
def dotted(numbers, rows, total, PAIRED: tl.constexpr):
    """Returns `total` `[TILE, ROWS]` plus the products of weights `[TILE, BLOCK]` and rows `[BLOCK, ROWS]`.

    For Hopper's tensor cores a thread supplies pairs of columns eight apart: of 8-bit weights it would load two bytes
    at a time. If PAIRED, columns of weights and rows are permuted alike, so that it loads eight bytes at a time. Other
    tensor cores, and small tiles on Hopper, have layouts that Triton optimizes itself.
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
    """Returns weights in the dtype of the rows.

    8-bit floats go through float16 and float32: the direct conversion to bfloat16 uses a slow instruction.
    """
    if numbers.dtype.is_fp8():
        numbers = numbers.to(tl.float16).to(tl.float32)
    return numbers.to(KIND)


@triton.jit
def scaled(total, at, known, factors, bias, FACTORS: tl.constexpr, BIAS: tl.constexpr):
    """Returns sums `[TILE, ROWS]` times the factors of their outputs, plus the bias."""
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
    """Applies factors, bias, activation and residual to the sums `[TILE, ROWS]` of the weights `read`, and stores them.

    With an activation it stores `activation(gate) * up`.
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
