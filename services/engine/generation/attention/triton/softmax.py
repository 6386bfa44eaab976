"""One block of keys and values in a softmax that is computed block by block."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl


@triton.jit
def attend_block(
    query,
    state,
    key_at,
    value_at,
    pages,
    key_page,
    value_page,
    start,
    positions,
    end,
    window,
    scaling,
    softcap,
    PAGE: tl.constexpr,
    N: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Takes the tokens [start, start + N) into `state`: sums of weighted values, greatest scores, sums of weights.

    `positions` `[M]` are those of the queries `[M, KEY_BLOCK]`; `end` is how many tokens there are. `key_at` and
    `value_at` point at a head's first page, `pages` at the sequence's. Scores are logarithms to the base of two.
    Without MASKED every query sees every token of the block.
    """
    total, best, weight = state
    places = start + tl.arange(0, N)
    key_columns = tl.arange(0, KEY_BLOCK)
    value_columns = tl.arange(0, VALUE_BLOCK)
    there = places < end
    page = tl.load(pages + places // PAGE, mask=there, other=0).to(tl.int64)
    key_places = key_at + page * key_page + (places % PAGE) * KEY_WIDTH
    value_places = value_at + page * value_page + (places % PAGE) * COLUMNS
    if MASKED or KEY_WIDTH != KEY_BLOCK:
        inside = there[None, :]
        if KEY_WIDTH != KEY_BLOCK:
            inside &= (key_columns < KEY_WIDTH)[:, None]
        keys = tl.load(key_places[None, :] + key_columns[:, None], mask=inside, other=0.0)
    else:
        keys = tl.load(key_places[None, :] + key_columns[:, None])
    scores = tl.dot(query, keys, input_precision="ieee") * scaling
    if SOFTCAP:  # its tangent by exponentials, which never overflow into a quotient of infinities
        scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scores / softcap) + 1.0))
    scores *= 1.4426950408889634
    if MASKED:
        seen = (places[None, :] <= positions[:, None]) & there[None, :]
        if WINDOW:
            seen &= places[None, :] > positions[:, None] - window
        scores = tl.where(seen, scores, float("-inf"))
    higher = tl.maximum(best, tl.max(scores, axis=1))
    # A query that has seen nothing yet keeps minus infinity, of which no difference may be taken.
    base = tl.where(higher == float("-inf"), 0.0, higher) if MASKED else higher
    shares = tl.exp2(scores - base[:, None])
    fading = tl.exp2(best - base)
    weight = weight * fading + tl.sum(shares, axis=1)
    if MASKED or VALUE_WIDTH != VALUE_BLOCK:
        inside = there[:, None]
        if VALUE_WIDTH != VALUE_BLOCK:
            inside &= (value_columns < VALUE_WIDTH)[None, :]
        values = tl.load(value_places[:, None] + value_columns[None, :], mask=inside, other=0.0)
    else:
        values = tl.load(value_places[:, None] + value_columns[None, :])
    total = total * fading[:, None] + tl.dot(shares.to(values.dtype), values, input_precision="ieee")
    return total, higher, weight
