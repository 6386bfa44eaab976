"""What several programs have found of one row's context, made one."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
# pyright: reportAssignmentType=false, reportArgumentType=false
import triton
import triton.language as tl

from services.engine.generation.attention.triton.softmax import LOGARITHM

_AT_ONCE = tl.constexpr(4096)
"""Numbers of the parts that are summed at once."""


@triton.jit
def sum_parts(
    totals,
    measures,
    parts,
    sinks,
    output,
    GROUP: tl.constexpr,
    PARTS: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    SINKS: tl.constexpr,
):
    """Writes `[GROUP, VALUE_WIDTH]`, zeros where no part has seen anything.

    `totals` `[GROUP, PARTS, VALUE_WIDTH]` are sums of weighted values, `measures` `[GROUP, PARTS, 2]` the greatest
    scores and the sums of weights; the first `parts` of them were written.
    """
    HEADS: tl.constexpr = triton.next_power_of_2(GROUP)
    FITTING: tl.constexpr = max(_AT_ONCE // (HEADS * VALUE_BLOCK), 1)
    COUNT: tl.constexpr = min(FITTING, PARTS)
    heads = tl.arange(0, HEADS)
    columns = tl.arange(0, VALUE_BLOCK)
    own = heads < GROUP
    inside = own[:, None] & (columns < VALUE_WIDTH)[None, :]
    total = tl.zeros([HEADS, VALUE_BLOCK], dtype=tl.float32)
    best = tl.full([HEADS], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([HEADS], dtype=tl.float32)
    if SINKS:
        best = tl.load(sinks + heads, mask=own, other=0.0).to(tl.float32) * LOGARITHM
        weight += 1.0
    for start in range(0, parts, COUNT):
        numbers = start + tl.arange(0, COUNT)
        places = heads[None, :] * PARTS + numbers[:, None]
        written = own[None, :] & (numbers < parts)[:, None]
        bests = tl.load(measures + places * 2, mask=written, other=float("-inf"), cache_modifier=".cg")
        weights = tl.load(measures + places * 2 + 1, mask=written, other=0.0, cache_modifier=".cg")
        at = totals + places[:, :, None] * VALUE_WIDTH + columns[None, None, :]
        found = tl.load(at, mask=written[:, :, None] & inside[None, :, :], other=0.0, cache_modifier=".cg")
        higher = tl.maximum(best, tl.max(bests, axis=0))
        base = tl.where(higher == float("-inf"), 0.0, higher)
        shares, fading = tl.exp2(bests - base[None, :]), tl.exp2(best - base)
        weight = weight * fading + tl.sum(weights * shares, axis=0)
        total = total * fading[:, None] + tl.sum(found * shares[:, :, None], axis=0)
        best = higher
    result = (total / tl.where(weight > 0.0, weight, 1.0)[:, None]).to(output.dtype.element_ty)
    tl.store(output + heads[:, None] * VALUE_WIDTH + columns[None, :], result, mask=inside)
