"""The kernels for rows of one token: all queries of a key head over a part of the context, and the sum of the parts."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportPossiblyUnboundVariable=false
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.generation.attention.triton.softmax import attend_block


@triton.jit
def attend_part(
    query,
    totals,
    measures,
    keys,
    values,
    pages,
    blocks,
    query_token,
    query_head,
    key_page,
    key_head,
    value_page,
    value_head,
    scaling,
    softcap,
    window,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    PAGE: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    PARTS: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Writes a part's sums of weighted values to `totals` `[blocks, HEADS, PARTS, VALUE_WIDTH]`.

    Its greatest scores and sums of weights go to `measures` `[blocks, HEADS, PARTS, 2]`. A block without a query has
    nothing to see.
    """
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    number = tl.program_id(0)
    kv_head = tl.program_id(1)
    part = tl.program_id(2)
    block = blocks + number * 4
    first = tl.load(block).to(tl.int64)
    end = (tl.load(block + 2) + tl.load(block + 1)).to(tl.int32)
    pages += tl.load(block + 3)
    begin = 0
    if WINDOW:
        begin = tl.maximum(end - window, 0) // N * N
    length = tl.cdiv(tl.cdiv(end - begin, N), PARTS) * N
    begin += part * length
    rows = tl.arange(0, M)
    key_columns = tl.arange(0, KEY_BLOCK)
    value_columns = tl.arange(0, VALUE_BLOCK)
    heads = kv_head * GROUP + rows
    query += first * query_token + heads[:, None] * query_head
    inside = (rows < GROUP)[:, None] & (key_columns < KEY_WIDTH)[None, :]
    queries = tl.load(query + key_columns[None, :], mask=inside, other=0.0)
    positions = tl.zeros([M], dtype=tl.int32) + end - 1
    key_at = keys + kv_head * key_head
    value_at = values + kv_head * value_head
    total = tl.zeros([M, VALUE_BLOCK], dtype=tl.float32)
    best = tl.full([M], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([M], dtype=tl.float32)
    for start in range(begin, tl.minimum(begin + length, end), N):
        total, best, weight = attend_block(
            queries, (total, best, weight), key_at, value_at, pages, key_page, value_page, start, positions, end,
            window, scaling, softcap, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS,
            SOFTCAP, WINDOW, True,
        )  # fmt: skip
    places = (number * HEADS + heads) * PARTS + part
    inside = (rows < GROUP)[:, None] & (value_columns < VALUE_WIDTH)[None, :]
    tl.store(totals + places[:, None] * VALUE_WIDTH + value_columns[None, :], total, mask=inside)
    tl.store(measures + places * 2, best, mask=rows < GROUP)
    tl.store(measures + places * 2 + 1, weight, mask=rows < GROUP)


@triton.jit
def sum_parts(
    totals,
    measures,
    output,
    blocks,
    sinks,
    HEADS: tl.constexpr,
    PARTS: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    SINKS: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Writes `[T, HEADS, VALUE_WIDTH]` for one head of one block; zeros where that had nothing to see."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    number = tl.program_id(0)
    head = tl.program_id(1)
    first = tl.load(blocks + number * 4).to(tl.int64)
    parts = (number * HEADS + head) * PARTS + tl.arange(0, PARTS)
    columns = tl.arange(0, VALUE_BLOCK)
    inside = columns < VALUE_WIDTH
    best = tl.load(measures + parts * 2)
    weights = tl.load(measures + parts * 2 + 1)
    highest = tl.max(best, axis=0)
    if SINKS:
        sink = tl.load(sinks + head).to(tl.float32) * 1.4426950408889634
        highest = tl.maximum(highest, sink)
    highest = tl.where(highest == float("-inf"), 0.0, highest)
    shares = tl.exp2(best - highest)
    weight = tl.sum(weights * shares, axis=0)
    if SINKS:
        weight += tl.exp2(sink - highest)
    found = tl.load(totals + parts[:, None] * VALUE_WIDTH + columns[None, :], mask=inside[None, :], other=0.0)
    total = tl.sum(found * shares[:, None], axis=0)
    result = (total / tl.where(weight > 0.0, weight, 1.0)).to(output.dtype.element_ty)
    tl.store(output + (first * HEADS + head) * VALUE_WIDTH + columns, result, mask=inside)
