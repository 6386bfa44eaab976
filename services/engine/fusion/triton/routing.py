"""Kernel of a router: logits, scores and the choice of the best experts of each row, in one launch."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit(do_not_specialize=["count", "scale"])
def choose_experts(
    rows, weights, bias, correction, parts, arrivals, logits, shares, chosen, count, scale,
    EXPERTS: tl.constexpr, WIDTH: tl.constexpr, CHOICES: tl.constexpr, GROUPS: tl.constexpr, OPEN: tl.constexpr,
    ROWS: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, BIAS: tl.constexpr,
    ROUNDED: tl.constexpr, SIGMOID: tl.constexpr, CORRECTED: tl.constexpr, NORMALIZED: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """Multiplies ROWS rows of `[count, WIDTH]` with a split of the weights of TILE experts, `[EXPERTS, WIDTH]`.

    SPLITS programs share the width. The last program of these rows to finish adds up all parts, always in the same
    order, and chooses the experts.
    """
    if EARLY:
        gdc_launch_dependents()
    experts = tl.program_id(0) * TILE + tl.arange(0, TILE)
    place = tl.program_id(1)
    own = place * ROWS + tl.arange(0, ROWS)
    total = part_of_logits(rows, weights, experts, own, count, EXPERTS, WIDTH, ROWS, TILE, BLOCK, SPLITS, EARLY)
    parts += place * (SPLITS * ROWS * EXPERTS)
    found = parts + (tl.program_id(2) * ROWS + tl.arange(0, ROWS))[None, :] * EXPERTS + experts[:, None]
    tl.store(found, total, mask=(experts < EXPERTS)[:, None])
    tl.debug_barrier()
    if tl.atomic_add(arrivals + place, 1, sem="acq_rel") == tl.num_programs(0) * SPLITS - 1:
        tl.store(arrivals + place, 0)
        each = tl.arange(0, triton.next_power_of_2(EXPERTS))
        known = (each < EXPERTS)[None, :]
        logit = logits_of(parts, bias, each, known, EXPERTS, ROWS, SPLITS, BIAS)
        if ROUNDED:
            logit = logit.to(rows.dtype.element_ty).to(tl.float32)
        there, number = (own < count)[:, None], own.to(tl.int64)[:, None]
        at = logits + number * EXPERTS + each[None, :]
        tl.store(at, logit.to(logits.dtype.element_ty), mask=there & known)
        best, share = chosen_of(logit, correction, each, known, CHOICES, GROUPS, OPEN, SIGMOID, CORRECTED, NORMALIZED)
        choice = tl.arange(0, best.shape[1])[None, :]
        at = number * CHOICES + choice
        tl.store(shares + at, (share * scale).to(shares.dtype.element_ty), mask=there & (choice < CHOICES))
        tl.store(chosen + at, best.to(tl.int64), mask=there & (choice < CHOICES))


@triton.jit
def part_of_logits(
    rows, weights, experts, own, count, EXPERTS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    TILE: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Returns the products `[TILE, ROWS]` of the experts' weights and the rows `own`, over the columns of this
    program's split.
    """
    LENGTH: tl.constexpr = (WIDTH + BLOCK * SPLITS - 1) // (BLOCK * SPLITS) * BLOCK
    columns = tl.program_id(2) * LENGTH + tl.arange(0, BLOCK)
    # Experts and rows beyond the last one load the last one again; they are not stored.
    weights += tl.minimum(experts, EXPERTS - 1)[:, None] * WIDTH + columns[None, :]
    rows += tl.minimum(own, count - 1).to(tl.int64)[None, :] * WIDTH + columns[:, None]
    weight = tl.load(weights, mask=(columns < WIDTH)[None, :], other=0.0)
    total = tl.zeros([TILE, ROWS], dtype=tl.float32)
    if EARLY:
        gdc_wait()
    for start in tl.static_range(0, LENGTH, BLOCK):
        mine = weight
        if start + BLOCK < LENGTH:  # load the next block while this one is multiplied
            ahead = columns + start + BLOCK < WIDTH
            weight = tl.load(weights + start + BLOCK, mask=ahead[None, :], other=0.0)
        row = tl.load(rows + start, mask=(columns + start < WIDTH)[:, None], other=0.0)
        total = tl.dot(mine, row.to(mine.dtype), total, input_precision="ieee")
    return total


@triton.jit
def logits_of(
    parts, bias, each, known, EXPERTS: tl.constexpr, ROWS: tl.constexpr, SPLITS: tl.constexpr, BIAS: tl.constexpr
):  # fmt: skip
    """Returns the logits `[ROWS, ALL]`: the sum of the programs' parts `[SPLITS, ROWS, EXPERTS]`, plus the bias."""
    logit = tl.zeros([ROWS, each.shape[0]], dtype=tl.float32)
    for split in tl.range(SPLITS):
        part = parts + (split * ROWS + tl.arange(0, ROWS))[:, None] * EXPERTS + each[None, :]
        logit += tl.load(part, mask=known, other=0.0, cache_modifier=".cg")
    if BIAS:
        logit += tl.load(bias + each[None, :], mask=known, other=0.0).to(tl.float32)
    return logit


@triton.jit
def chosen_of(
    logit, correction, each, known, CHOICES: tl.constexpr, GROUPS: tl.constexpr, OPEN: tl.constexpr,
    SIGMOID: tl.constexpr, CORRECTED: tl.constexpr, NORMALIZED: tl.constexpr,
):  # fmt: skip
    """Returns the chosen experts and shares of logits `[ROWS, ALL]`; if NORMALIZED, a row's shares add up to one."""
    score = scored(logit, known, SIGMOID)
    merit = score
    if CORRECTED:
        merit += tl.load(correction + each[None, :], mask=known, other=0.0).to(tl.float32)
    # NaN counts as the least possible merit, so that no expert is chosen twice, and none that does not exist.
    merit = tl.where(known, tl.maximum(merit, -1.0e38), float("-inf"))
    if GROUPS > 1:
        merit = within_best(merit, GROUPS, OPEN)
    best, share = best_of(score, merit, CHOICES)
    if NORMALIZED:
        share /= tl.sum(share, axis=1)[:, None] + 1e-20
    return best, share


@triton.jit
def scored(logit, known, SIGMOID: tl.constexpr):
    """Returns the scores of logits `[ROWS, ALL]`: sigmoid, or softmax over the known experts. Nothing overflows."""
    if SIGMOID:
        score = 1.0 / (1.0 + tl.exp(tl.minimum(-logit, 80.0, propagate_nan=tl.PropagateNan.ALL)))
    else:
        logit = tl.where(known, logit, float("-inf"))
        score = tl.exp(logit - tl.max(logit, axis=1)[:, None])
        score /= tl.sum(score, axis=1)[:, None]
    return score


@triton.jit
def within_best(merit, GROUPS: tl.constexpr, OPEN: tl.constexpr):
    """Returns merits `[ROWS, ALL]` with -inf for all experts outside of the OPEN best of GROUPS groups.

    A group is ranked by the sum of its two best. Groups have equal sizes; sizes and numbers are powers of two.
    """
    ROWS: tl.constexpr = merit.shape[0]
    SIZE: tl.constexpr = merit.shape[1] // GROUPS
    grouped = merit.reshape([ROWS, GROUPS, SIZE])
    first = tl.argmax(grouped, axis=2)[:, :, None] == tl.arange(0, SIZE)[None, None, :]
    worth = tl.max(grouped, axis=2) + tl.max(tl.where(first, float("-inf"), grouped), axis=2)
    taken = tl.zeros([ROWS, GROUPS], dtype=tl.int32)
    for _ in tl.range(OPEN):
        hit = tl.argmax(worth, axis=1)[:, None] == tl.arange(0, GROUPS)[None, :]
        taken = tl.where(hit, 1, taken)
        worth = tl.where(hit, float("-inf"), worth)
    return tl.where(taken[:, :, None] > 0, grouped, float("-inf")).reshape([ROWS, GROUPS * SIZE])


@triton.jit
def best_of(score, merit, CHOICES: tl.constexpr):
    """Returns the CHOICES experts with the greatest merit, in descending order and the first of equal ones, and their
    scores.
    """
    each = tl.arange(0, score.shape[1])[None, :]
    choice = tl.arange(0, triton.next_power_of_2(CHOICES))[None, :]
    best = tl.zeros([score.shape[0], choice.shape[1]], dtype=tl.int32)
    share = tl.zeros([score.shape[0], choice.shape[1]], dtype=tl.float32)
    for taken in tl.range(CHOICES):
        first = tl.argmax(merit, axis=1)[:, None]
        hit = each == first
        best = tl.where(choice == taken, first, best)
        share = tl.where(choice == taken, tl.sum(tl.where(hit, score, 0.0), axis=1)[:, None], share)
        merit = tl.where(hit, float("-inf"), merit)
    return best, share
