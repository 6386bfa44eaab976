"""Combines the partial softmax results of several programs for one block of queries."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.softmax import LOGARITHM, with_sink

_AT_ONCE = tl.constexpr(4096)
"""Numbers of the parts that are combined at once."""


@triton.jit
def write_whole(
    total,
    best,
    weight,
    sinks,
    output,
    heads,
    lanes,
    used,
    HEADS: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    SINKS: tl.constexpr,
):
    """Writes heads of tokens `[tokens, HEADS, VALUE_WIDTH]` whose context one program has seen; see `weigh_block`."""
    if SINKS:
        sink = tl.load(sinks + heads, mask=used, other=0.0).to(tl.float32) * LOGARITHM
        total, best, weight = with_sink(total, best, weight, sink)
    columns = tl.arange(0, VALUE_BLOCK)
    result = (total / tl.where(weight > 0.0, weight, 1.0)[:, None]).to(output.dtype.element_ty)
    at = output + (lanes * HEADS + heads)[:, None] * VALUE_WIDTH + columns[None, :]
    tl.store(at, result, mask=used[:, None] & (columns < VALUE_WIDTH)[None, :])


@triton.jit
def store_part(
    total, best, weight, totals, measures, places, used, VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr
):
    """Stores one program's partial results at `places` of `totals` and `measures`, for `sum_parts`."""
    columns = tl.arange(0, VALUE_BLOCK)
    at = totals + places.to(tl.int64)[:, None] * VALUE_WIDTH + columns[None, :]
    tl.store(at, total, mask=used[:, None] & (columns < VALUE_WIDTH)[None, :])
    tl.store(measures + places * 2, best, mask=used)
    tl.store(measures + places * 2 + 1, weight, mask=used)


@triton.jit
def sum_parts(
    totals, measures, parts, count, sinks, output, HEADS: tl.constexpr, GROUP: tl.constexpr, QUERIES: tl.constexpr,
    PARTS: tl.constexpr, VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Writes GROUP heads of `count` tokens `[tokens, HEADS, VALUE_WIDTH]`, zeros where no part has seen anything.

    `totals` `[parts, QUERIES, GROUP, VALUE_WIDTH]` are sums of weighted values, `measures` `[parts, QUERIES, GROUP, 2]`
    the greatest scores and the sums of weights.
    """
    ROWS: tl.constexpr = triton.next_power_of_2(GROUP * QUERIES)
    FITTING: tl.constexpr = max(_AT_ONCE // (ROWS * VALUE_BLOCK), 1)
    COUNT: tl.constexpr = min(FITTING, PARTS)
    rows = tl.arange(0, ROWS)
    columns = tl.arange(0, VALUE_BLOCK)
    own = rows < GROUP * count
    inside = own[:, None] & (columns < VALUE_WIDTH)[None, :]
    total = tl.zeros([ROWS, VALUE_BLOCK], dtype=tl.float32)
    best = tl.full([ROWS], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([ROWS], dtype=tl.float32)
    if SINKS:
        best = tl.load(sinks + rows % GROUP, mask=own, other=0.0).to(tl.float32) * LOGARITHM
        weight += 1.0
    for start in range(0, parts, COUNT):
        numbers = start + tl.arange(0, COUNT)
        places = rows[None, :] + numbers[:, None] * GROUP * QUERIES
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
    at = output + (rows // GROUP * HEADS + rows % GROUP)[:, None] * VALUE_WIDTH
    tl.store(at + columns[None, :], result, mask=inside)
