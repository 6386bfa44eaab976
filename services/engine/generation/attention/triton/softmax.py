"""Online softmax: adds one block of keys and values at a time."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.narrow import load_scales, widen
from services.engine.generation.attention.triton.pages import load_block, load_pages

LOGARITHM = tl.constexpr(1.4426950408889634)
"""log2(e): weights are computed as powers of two."""


@triton.jit
def attend_block(
    query, state, key_at, value_at, key_scale_at, value_scale_at, pages, key_page, value_page, scale_page, start,
    positions, end, window, scaling, softcap,
    PAGE: tl.constexpr, N: tl.constexpr, KEY_WIDTH: tl.constexpr, KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr, NARROW: tl.constexpr, SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Loads the tokens [start, start + N) and adds them to `state`; see `load_block` and `weigh_block`."""
    page = load_pages(pages, start, end, PAGE, N)
    keys, values, key_scale, value_scale = load_tokens(
        page, key_at, value_at, key_scale_at, value_scale_at, key_page, value_page, scale_page, start, end, PAGE, N,
        KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, False, MASKED,
    )  # fmt: skip
    return weigh_block(
        query, state, keys, values, key_scale, value_scale, start, positions, end, window, scaling, softcap, N, NARROW,
        SOFTCAP, WINDOW, MASKED, False,
    )  # fmt: skip


@triton.jit
def load_tokens(
    page, key_at, value_at, key_scale_at, value_scale_at, key_page, value_page, scale_page, start, end,
    PAGE: tl.constexpr, N: tl.constexpr, KEY_WIDTH: tl.constexpr, KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr, NARROW: tl.constexpr, TURNED: tl.constexpr,
    CUT: tl.constexpr,
):  # fmt: skip
    """Returns keys and values as `load_block`, and their scales `[N]`, which are 1.0 if not NARROW."""
    keys, values = load_block(
        page, key_at, value_at, key_page, value_page, start, end, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH,
        VALUE_BLOCK, COLUMNS, TURNED, CUT,
    )  # fmt: skip
    key_scale, value_scale = 1.0, 1.0
    if NARROW:
        key_scale = load_scales(key_scale_at, page, scale_page, start, end, PAGE, N)
        value_scale = load_scales(value_scale_at, page, scale_page, start, end, PAGE, N)
    return keys, values, key_scale, value_scale


@triton.jit
def weigh_block(
    query, state, keys, values, key_scale, value_scale, start, positions, end, window, scaling, softcap,
    N: tl.constexpr, NARROW: tl.constexpr, SOFTCAP: tl.constexpr, WINDOW: tl.constexpr, MASKED: tl.constexpr,
    TURNED: tl.constexpr,
):  # fmt: skip
    """Adds the tokens [start, start + N) to `state`: sums of weighted values, greatest scores, sums of weights.

    `positions` `[M]` are those of the queries `[M, KEY_BLOCK]`; `end` is the number of tokens. Scores in the state are
    logarithms to base two. Without MASKED every query sees every token of the block.

    If NARROW, keys and values are e4m3 bits with scales `[N]`. If TURNED, queries and sums are `[KEY_BLOCK, M]` and
    `[VALUE_BLOCK, M]`, and scores `[N, M]`: a tensor core takes 16 rows, but only 8 columns.
    """
    total, best, weight = state
    TOKENS: tl.constexpr = 0 if TURNED else 1  # axis of the tokens in scores, and of a value's numbers in sums
    if NARROW:  # exact in the queries' dtype; scales are applied to the float32 results
        keys, values = widen(keys, query.dtype), widen(values, query.dtype)
    one, other = (keys, query) if TURNED else (query, keys)
    scores = tl.dot(one, other, input_precision="ieee")
    if NARROW:
        scores *= tl.expand_dims(key_scale, 1 - TOKENS)
    factor = scaling * LOGARITHM
    if SOFTCAP:
        scores, factor = capped(scores * scaling, softcap), LOGARITHM
    if MASKED:
        places, position = tl.expand_dims(start + tl.arange(0, N), 1 - TOKENS), tl.expand_dims(positions, TOKENS)
        seen = (places <= position) & (places < end)
        if WINDOW:
            seen &= places > position - window
        scores = tl.where(seen, scores, float("-inf"))
    # The factor is applied together with the subtraction below, in one fused instruction.
    higher = tl.maximum(best, tl.max(scores, axis=TOKENS) * factor)
    # A query that has seen nothing yet has -inf, and -inf - -inf would be NaN.
    base = tl.where(higher == float("-inf"), 0.0, higher) if MASKED else higher
    shares = tl.exp2(scores * factor - tl.expand_dims(base, TOKENS))
    fading = tl.exp2(best - base)
    weight = weight * fading + tl.sum(shares, axis=TOKENS)
    most = 1.0
    if NARROW:  # relative to the block's greatest scale, so that weights do not underflow in the narrower dtype
        most = tl.max(value_scale)
        shares *= tl.expand_dims(value_scale / tl.where(most > 0.0, most, 1.0), 1 - TOKENS)
    shares = shares.to(values.dtype)
    one, other = (tl.trans(values), shares) if TURNED else (shares, values)
    found = tl.dot(one, other, input_precision="ieee")
    if NARROW:
        found *= most
    return total * tl.expand_dims(fading, TOKENS) + found, higher, weight


@triton.jit
def with_sink(total, best, weight, sink):
    """Adds a sink to the state: a score that takes weight but has no value."""
    higher = tl.maximum(best, sink)
    fading = tl.exp2(best - higher)
    weight = weight * fading + tl.exp2(sink - higher)
    return total * fading[:, None], higher, weight


@triton.jit
def capped(scores, softcap):
    """Returns softcap * tanh(scores / softcap), by one capped exponential: inf / inf cannot occur."""
    return softcap * (1.0 - 2.0 / (tl.exp(tl.minimum(2.0 * scores / softcap, 80.0)) + 1.0))
