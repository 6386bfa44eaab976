"""The kernel for prompts: a block of one row's queries by one head, over all tokens that they see."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.softmax import LOGARITHM, attend_block, with_sink


@triton.jit
def attend_reading(
    query, output, keys, values, pages, blocks, sinks, query_token, query_head, key_page, key_head, value_page,
    value_head, key_scales, value_scales, scale_page, scale_head, scaling, softcap, window,
    HEADS: tl.constexpr, GROUP: tl.constexpr, PAGE: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
    KEY_WIDTH: tl.constexpr, KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr, NARROW: tl.constexpr, SOFTCAP: tl.constexpr, WINDOW: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Writes `[T, HEADS, VALUE_WIDTH]` for one block of `blocks` and one head. See `QueryBlocks`."""
    head = tl.program_id(0)
    block = blocks + tl.program_id(1) * 5
    first = tl.load(block).to(tl.int64)
    count = tl.load(block + 1).to(tl.int32)
    position = tl.load(block + 2).to(tl.int32)
    pages += tl.load(block + 3)
    rows, key_columns, value_columns = tl.arange(0, M), tl.arange(0, KEY_BLOCK), tl.arange(0, VALUE_BLOCK)
    there = rows < count
    query += first * query_token + head * query_head
    inside = there[:, None] & (key_columns < KEY_WIDTH)[None, :]
    queries = tl.load(query + rows[:, None] * query_token + key_columns[None, :], mask=inside, other=0.0)
    kv_head = head // GROUP
    total, best, weight = seen_of_context(
        queries, keys + kv_head * key_head, values + kv_head * value_head, key_scales + kv_head * scale_head,
        value_scales + kv_head * scale_head, pages, key_page, value_page, scale_page, position, position + count,
        scaling, softcap, window, PAGE, M, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, SOFTCAP,
        WINDOW,
    )  # fmt: skip
    if SINKS:
        total, best, weight = with_sink(total, best, weight, tl.load(sinks + head).to(tl.float32) * LOGARITHM)
    output += (first * HEADS + head) * VALUE_WIDTH
    inside = there[:, None] & (value_columns < VALUE_WIDTH)[None, :]
    result = (total / tl.where(weight > 0.0, weight, 1.0)[:, None]).to(output.dtype.element_ty)
    tl.store(output + rows[:, None] * HEADS * VALUE_WIDTH + value_columns[None, :], result, mask=inside)


@triton.jit
def seen_of_context(
    queries, key_at, value_at, key_scales, value_scales, pages, key_page, value_page, scale_page, position, end,
    scaling, softcap, window,
    PAGE: tl.constexpr, M: tl.constexpr, N: tl.constexpr, KEY_WIDTH: tl.constexpr, KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr, NARROW: tl.constexpr,
    SOFTCAP: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Returns the softmax state of queries `[M, KEY_BLOCK]`, the first at `position`, for tokens before `end`; see
    `weigh_block`.
    """
    positions = tl.minimum(position + tl.arange(0, M), end - 1)  # rows without a query get a valid position too
    begin = 0
    if WINDOW:
        begin = tl.maximum(position - window + 1, 0) // N * N
    # Up to here every query sees every token, so no mask is needed. Padding has negative positions and sees none.
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
    return total, best, weight
