"""Norms, rotates and stores a row's own heads within the decode kernel, from the output of the projections."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.narrow import narrow, scale_of, widen


@triton.jit
def load_turned(
    at,
    there,
    scales,
    cosines,
    sines,
    epsilon,
    KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    ROTATED: tl.constexpr,
    NORM: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Returns float32 heads `[M, KEY_BLOCK]` whose first ROTATED numbers are rotated, with zeros where `there` is
    false.

    Pairs are ROTATED / 2 apart. If NORM, heads go through an RMS norm first. Angles are loaded for ROWS equal rows.
    """
    half: tl.constexpr = ROTATED // 2
    columns = tl.arange(0, KEY_BLOCK)[None, :]
    within, turns = columns < KEY_WIDTH, columns < ROTATED
    partners = tl.where(turns, tl.where(columns < half, columns + half, columns - half), columns)
    found = tl.load(at + columns, mask=there & within, other=0.0).to(tl.float32)
    partner = tl.load(at + partners, mask=there & within, other=0.0).to(tl.float32)
    if NORM:
        share = tl.rsqrt(tl.sum(found * found, axis=1) / KEY_WIDTH + epsilon)[:, None]
        found *= share * tl.load(scales + columns, mask=within, other=0.0)
        partner *= share * tl.load(scales + partners, mask=within, other=0.0)
    rows = tl.arange(0, ROWS)[:, None]
    turns, angles = turns & (rows >= 0), columns + rows * 0
    cosine = tl.load(cosines + angles, mask=turns, other=1.0).to(tl.float32)
    sine = tl.load(sines + angles, mask=turns, other=0.0).to(tl.float32)
    return found * cosine + partner * tl.where(columns < half, -sine, sine)


@triton.jit
def store_own(
    query, cosines, sines, key_norm, epsilon, slot_at, key_at, value_at, key_scales, value_scales, key_page, value_page,
    scale_page, kv_head, stores,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, PAGE: tl.constexpr, ROWS: tl.constexpr, KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
    NARROW: tl.constexpr, ROTATED: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Returns a head's key `[ROWS, KEY_BLOCK]`, with equal rows, and value `[VALUE_BLOCK]` of one token, as later reads
    of the cache would return them.

    `query` is the token's `[queries | keys | values]`; see `load_turned`. If `stores`, both go to the token's slot, or
    nowhere if that is negative.
    """
    kind = query.dtype.element_ty
    key_columns, value_columns = tl.arange(0, KEY_BLOCK), tl.arange(0, VALUE_BLOCK)
    rows = tl.arange(0, ROWS)[:, None]
    at = query + (HEADS + kv_head) * KEY_WIDTH + rows * 0
    there = rows >= 0
    key = load_turned(at, there, key_norm, cosines, sines, epsilon, KEY_WIDTH, KEY_BLOCK, ROTATED, NORM, ROWS).to(kind)
    at = query + (HEADS + KV_HEADS) * KEY_WIDTH + kv_head * VALUE_WIDTH
    value = tl.load(at + value_columns, mask=value_columns < VALUE_WIDTH, other=0.0)
    key_stored, value_stored = key, value
    key_scale, value_scale = 1.0, 1.0
    if NARROW:
        wide_key, wide_value = key.to(tl.float32), value.to(tl.float32)
        key_scale = scale_of(tl.max(tl.abs(wide_key))) + tl.sum(wide_key * 0.0)
        value_scale = scale_of(tl.max(tl.abs(wide_value))) + tl.sum(wide_value * 0.0)
        key_stored, value_stored = narrow(tl.div_rn(wide_key, key_scale)), narrow(tl.div_rn(wide_value, value_scale))
    slot = tl.load(slot_at).to(tl.int64)
    page, offset = slot // PAGE, slot % PAGE
    stores = stores & (slot >= 0)
    at = key_at + page * key_page + offset * KEY_WIDTH + key_columns[None, :]
    tl.store(at + rows * 0, key_stored, mask=(key_columns < tl.where(stores, KEY_WIDTH, 0))[None, :] & (rows == 0))
    at = value_at + page * value_page + offset * COLUMNS + value_columns
    tl.store(at, value_stored, mask=value_columns < tl.where(stores, VALUE_WIDTH, 0))
    if NARROW:
        at = page * scale_page + offset
        tl.store(key_scales + at, key_scale, mask=stores)
        tl.store(value_scales + at, value_scale, mask=stores)
        key = widen(key_stored, tl.float32) * key_scale
        value = widen(value_stored, tl.float32) * value_scale
    return key, value
