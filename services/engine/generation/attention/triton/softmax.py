"""One block of keys and values in a softmax that is computed block by block."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.pages import load_block, load_pages


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
    """Loads the tokens [start, start + N) and takes them into `state`; see `load_block` and `weigh_block`."""
    page = load_pages(pages, start, end, PAGE, N)
    keys, values = load_block(
        page, key_at, value_at, key_page, value_page, start, end, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH,
        VALUE_BLOCK, COLUMNS, MASKED,
    )  # fmt: skip
    return weigh_block(
        query, state, keys, values, start, positions, end, window, scaling, softcap, N, SOFTCAP, WINDOW, MASKED
    )


@triton.jit
def weigh_block(
    query,
    state,
    keys,
    values,
    start,
    positions,
    end,
    window,
    scaling,
    softcap,
    N: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Takes the tokens [start, start + N) into `state`: sums of weighted values, greatest scores, sums of weights.

    `positions` `[M]` are those of the queries `[M, KEY_BLOCK]`; `end` is how many tokens there are. Scores are
    logarithms to the base of two. Without MASKED every query sees every token of the block.
    """
    total, best, weight = state
    scores = logarithm(tl.dot(query, keys, input_precision="ieee") * scaling, softcap, SOFTCAP)
    if MASKED:
        places = start + tl.arange(0, N)
        seen = (places[None, :] <= positions[:, None]) & (places < end)[None, :]
        if WINDOW:
            seen &= places[None, :] > positions[:, None] - window
        scores = tl.where(seen, scores, float("-inf"))
    higher = tl.maximum(best, tl.max(scores, axis=1))
    # A query that has seen nothing yet keeps minus infinity, of which no difference may be taken.
    base = tl.where(higher == float("-inf"), 0.0, higher) if MASKED else higher
    shares = tl.exp2(scores - base[:, None])
    fading = tl.exp2(best - base)
    weight = weight * fading + tl.sum(shares, axis=1)
    total = total * fading[:, None] + tl.dot(shares.to(values.dtype), values, input_precision="ieee")
    return total, higher, weight


@triton.jit
def logarithm(scores, softcap, SOFTCAP: tl.constexpr):
    """Returns scaled scores, capped if SOFTCAP, as logarithms to the base of two."""
    if SOFTCAP:  # its tangent by exponentials, which never overflow into a quotient of infinities
        scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scores / softcap) + 1.0))
    return scores * 1.4426950408889634
