"""Kernel between the projections and attention: norms and rotates heads, and stores keys and values in the KV cache."""

# ruff: noqa: N803, SIM108 - constants of a kernel are written in capitals, and its branches are chosen by statements
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.generation.attention.triton.narrow import narrow, scale_of


@triton.jit
def rotate_and_store(
    packed, cosines, sines, slots, keys, values, query_norm, key_norm, epsilon, token_stride, key_page, key_head,
    value_page, value_head, key_scales, value_scales, scale_page, scale_head,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, ROWS: tl.constexpr, ROTATED: tl.constexpr, HALF_BLOCK: tl.constexpr,
    REST_BLOCK: tl.constexpr, NORM: tl.constexpr, EARLY: tl.constexpr, PAGE: tl.constexpr, KEY_WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Takes one key head of one token of `[T, queries | keys | values]`, and the query heads of its group.

    Queries are written back in place; key and value go to the token's slot, or nowhere if that is negative. The first
    ROTATED numbers of a head are rotated, in pairs ROTATED / 2 apart; angles are `[T, ROTATED]`.
    """
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()
    token, kv_head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    # Rows are the heads: the group's queries, then the key.
    rows, columns = tl.arange(0, ROWS)[:, None], tl.arange(0, HALF_BLOCK)[None, :]
    packed += token * token_stride
    low, high, rest = turned(
        packed, token, kv_head, rows, columns, cosines, sines, query_norm, key_norm, epsilon, HEADS, KV_HEADS, ROTATED,
        REST_BLOCK, NORM, KEY_WIDTH,
    )  # fmt: skip
    slot = tl.load(slots + token).to(tl.int64)
    page, offset = slot // PAGE, slot % PAGE
    query = packed + (kv_head * (HEADS // KV_HEADS) + rows) * KEY_WIDTH
    key = keys + page * key_page + kv_head * key_head + offset * KEY_WIDTH + rows * 0
    store_heads(
        low, high, rest, query, key, key_scales, scale_page, scale_head, page, kv_head, offset, slot, rows, columns,
        HEADS // KV_HEADS, ROTATED, REST_BLOCK, KEY_WIDTH, NARROW,
    )  # fmt: skip
    columns = tl.arange(0, VALUE_BLOCK)
    at = packed + (HEADS + KV_HEADS) * KEY_WIDTH + kv_head * VALUE_WIDTH + columns
    value = tl.load(at, mask=columns < VALUE_WIDTH, other=0.0)
    if NARROW:
        value = value.to(tl.float32)
        scale = scale_of(tl.max(tl.abs(value))) + tl.sum(value * 0.0)
        tl.store(value_scales + (page * scale_page + kv_head * scale_head + offset), scale, mask=slot >= 0)
        value = narrow(tl.div_rn(value, scale))
    place = values + page * value_page + kv_head * value_head + offset * COLUMNS
    tl.store(place + columns, value, mask=columns < tl.where(slot < 0, 0, VALUE_WIDTH))


@triton.jit
def turned(
    packed, token, kv_head, rows, columns, cosines, sines, query_norm, key_norm, epsilon,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, ROTATED: tl.constexpr, REST_BLOCK: tl.constexpr, NORM: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
):  # fmt: skip
    """Returns float32 heads, normed if NORM: both halves `[ROWS, HALF_BLOCK]` of the rotated part, and the part not
    rotated.
    """
    group: tl.constexpr = HEADS // KV_HEADS
    half: tl.constexpr = ROTATED // 2
    head = tl.where(rows == group, HEADS + kv_head, kv_head * group + rows)
    inside = (rows <= group) & (columns < half)
    low = tl.load(packed + head * KEY_WIDTH + columns, mask=inside, other=0.0).to(tl.float32)
    high = tl.load(packed + head * KEY_WIDTH + half + columns, mask=inside, other=0.0).to(tl.float32)
    rest = low
    if REST_BLOCK:
        others = ROTATED + tl.arange(0, REST_BLOCK)[None, :]
        within = (rows <= group) & (others < KEY_WIDTH)
        rest = tl.load(packed + head * KEY_WIDTH + others, mask=within, other=0.0).to(tl.float32)
    if NORM:
        squares = tl.sum(low * low + high * high, axis=1)
        if REST_BLOCK:
            squares += tl.sum(rest * rest, axis=1)
        share = tl.rsqrt(squares / KEY_WIDTH + epsilon)[:, None]
        low *= share * head_scales(query_norm, key_norm, columns, rows == group, columns < half)
        high *= share * head_scales(query_norm, key_norm, columns + half, rows == group, columns < half)
        if REST_BLOCK:
            rest *= share * head_scales(query_norm, key_norm, others, rows == group, others < KEY_WIDTH)
    angle = token * ROTATED + columns
    first = low * load_angle(cosines, angle, columns < half) - high * load_angle(sines, angle, columns < half)
    angle += half
    high = high * load_angle(cosines, angle, columns < half) + low * load_angle(sines, angle, columns < half)
    return first, high, rest


@triton.jit
def store_heads(
    low, high, rest, query, key, scales, scale_page, scale_head, page, kv_head, offset, slot, rows, columns,
    GROUP: tl.constexpr, ROTATED: tl.constexpr, REST_BLOCK: tl.constexpr, KEY_WIDTH: tl.constexpr, NARROW: tl.constexpr,
):  # fmt: skip
    """Stores the rows of the queries, and that of the key if it has a slot, rounded to the dtype of the queries.

    If NARROW, keys are stored in 8 bits, with a scale for each head.
    """
    half: tl.constexpr = ROTATED // 2
    kind = query.dtype.element_ty
    inside = (rows <= GROUP) & (columns < half)
    to_query, to_key = rows < GROUP, rows == tl.where(slot < 0, -1, GROUP)
    tl.store(query + columns, low.to(kind), mask=inside & to_query)
    tl.store(query + half + columns, high.to(kind), mask=inside & to_query)
    scale_at = page * scale_page + kv_head * scale_head + offset
    others = ROTATED + tl.arange(0, REST_BLOCK if REST_BLOCK else 1)[None, :]
    within = (rows <= GROUP) & (others < KEY_WIDTH)
    scale = 1.0
    if NARROW:
        low, high = low.to(kind).to(tl.float32), high.to(kind).to(tl.float32)
        of_key = tl.where(inside & (rows == GROUP), tl.maximum(tl.abs(low), tl.abs(high)), 0.0)
        greatest = tl.max(of_key) + tl.sum(of_key * 0.0)
        if REST_BLOCK:
            rest = rest.to(kind).to(tl.float32)
            of_rest = tl.where(within & (rows == GROUP), tl.abs(rest), 0.0)
            greatest = tl.maximum(greatest, tl.max(of_rest)) + tl.sum(of_rest * 0.0)
        scale = scale_of(greatest) + greatest * 0.0
        tl.store(scales + scale_at, scale, mask=slot >= 0)
    tl.store(key + columns, as_stored(low, scale, kind, NARROW), mask=inside & to_key)
    tl.store(key + half + columns, as_stored(high, scale, kind, NARROW), mask=inside & to_key)
    if REST_BLOCK:
        tl.store(query + others, rest.to(kind), mask=within & to_query)
        tl.store(key + others, as_stored(rest, scale, kind, NARROW), mask=within & to_key)


@triton.jit
def as_stored(numbers, scale, KIND: tl.constexpr, NARROW: tl.constexpr):
    """Returns float32 numbers in the format of the KV cache."""
    if NARROW:
        found = narrow(tl.div_rn(numbers, scale))
    else:
        found = numbers.to(KIND)
    return found


@triton.jit
def head_scales(query_norm, key_norm, columns, is_key, inside):
    """Returns the scales of each head's norm."""
    query = tl.load(query_norm + columns, mask=inside, other=0.0)
    return tl.where(is_key, tl.load(key_norm + columns, mask=inside, other=0.0), query)


@triton.jit
def load_angle(angles, places, inside):
    """Returns float32 cosines or sines."""
    return tl.load(angles + places, mask=inside, other=0.0).to(tl.float32)
