"""The kernel for rows of several tokens: a block of one row's queries by one head, over the tokens they see."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportPossiblyUnboundVariable=false
import triton
import triton.language as tl

from services.engine.generation.attention.triton.softmax import LOGARITHM, attend_block


@triton.jit
def attend_reading(
    query,
    output,
    keys,
    values,
    pages,
    blocks,
    sinks,
    query_token,
    query_head,
    key_page,
    key_head,
    value_page,
    value_head,
    key_scales,
    value_scales,
    scale_page,
    scale_head,
    scaling,
    softcap,
    window,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    PAGE: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    NARROW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    SINKS: tl.constexpr,
):
    """Writes `[T, HEADS, VALUE_WIDTH]` for one block of `blocks` and one head. See `QueryBlocks`."""
    head = tl.program_id(0)
    block = blocks + tl.program_id(1) * 5
    first = tl.load(block).to(tl.int64)
    count = tl.load(block + 1).to(tl.int32)
    position = tl.load(block + 2).to(tl.int32)
    pages += tl.load(block + 3)
    rows = tl.arange(0, M)
    key_columns = tl.arange(0, KEY_BLOCK)
    value_columns = tl.arange(0, VALUE_BLOCK)
    there = rows < count
    query += first * query_token + head * query_head
    inside = there[:, None] & (key_columns < KEY_WIDTH)[None, :]
    queries = tl.load(query + rows[:, None] * query_token + key_columns[None, :], mask=inside, other=0.0)
    key_at = keys + (head // GROUP) * key_head
    value_at = values + (head // GROUP) * value_head
    key_scales += (head // GROUP) * scale_head
    value_scales += (head // GROUP) * scale_head
    end = position + count
    positions = tl.minimum(position + rows, end - 1)  # of rows without a query too, so that they see something
    begin = 0
    if WINDOW:
        begin = tl.maximum(position - window + 1, 0) // N * N
    # Up to here every query sees every token. What fills up a step stands before the first, and sees none.
    whole = begin if WINDOW else tl.maximum(position + 1, 0) // N * N
    total = tl.zeros([M, VALUE_BLOCK], dtype=tl.float32)
    best = tl.full([M], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([M], dtype=tl.float32)
    for start in range(begin, whole, N):
        total, best, weight = attend_block(
            queries, (total, best, weight), key_at, value_at, key_scales, value_scales, pages, key_page, value_page,
            scale_page, start, positions, end, window, scaling, softcap, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH,
            VALUE_BLOCK, COLUMNS, NARROW, SOFTCAP, WINDOW, False,
        )  # fmt: skip
    for start in range(whole, end, N):
        total, best, weight = attend_block(
            queries, (total, best, weight), key_at, value_at, key_scales, value_scales, pages, key_page, value_page,
            scale_page, start, positions, end, window, scaling, softcap, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH,
            VALUE_BLOCK, COLUMNS, NARROW, SOFTCAP, WINDOW, True,
        )  # fmt: skip
    if SINKS:
        sink = tl.load(sinks + head).to(tl.float32) * LOGARITHM
        higher = tl.maximum(best, sink)
        fading = tl.exp2(best - higher)
        weight = weight * fading + tl.exp2(sink - higher)
        total *= fading[:, None]
    output += (first * HEADS + head) * VALUE_WIDTH
    inside = there[:, None] & (value_columns < VALUE_WIDTH)[None, :]
    result = (total / tl.where(weight > 0.0, weight, 1.0)[:, None]).to(output.dtype.element_ty)
    tl.store(output + rows[:, None] * HEADS * VALUE_WIDTH + value_columns[None, :], result, mask=inside)
