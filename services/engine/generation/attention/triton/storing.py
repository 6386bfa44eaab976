"""The kernel that stores new keys and values in the paged cache."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.narrow import narrow, scale_of


@triton.jit
def store_token(
    key, value, slots, keys, values, key_token, key_stride, value_token, value_stride, key_page, key_head, value_page,
    value_head, key_scales, value_scales, scale_page, scale_head,
    KV_HEADS: tl.constexpr, HEADS_BLOCK: tl.constexpr, PAGE: tl.constexpr, KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
    NARROW: tl.constexpr,
):  # fmt: skip
    """Stores all heads of one token `[T, KV_HEADS, width]` in its slot, or nowhere if that is negative."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + token).to(tl.int64)
    page, offset = slot // PAGE, slot % PAGE
    heads = tl.arange(0, HEADS_BLOCK)[:, None]
    stored = tl.where(slot < 0, 0, KV_HEADS)
    columns = tl.arange(0, KEY_BLOCK)[None, :]
    inside = (heads < stored) & (columns < KEY_WIDTH)
    found = tl.load(key + token * key_token + heads * key_stride + columns, mask=inside, other=0.0)
    scale_at = page * scale_page + tl.arange(0, HEADS_BLOCK) * scale_head + offset
    own = tl.arange(0, HEADS_BLOCK) < stored
    if NARROW:
        found = found.to(tl.float32)
        scales = scale_of(tl.max(tl.abs(found), axis=1)) + tl.sum(found * 0.0, axis=1)  # NaN if any number is
        tl.store(key_scales + scale_at, scales, mask=own)
        found = narrow(tl.div_rn(found, scales[:, None]))
    tl.store(keys + page * key_page + heads * key_head + offset * KEY_WIDTH + columns, found, mask=inside)
    columns = tl.arange(0, VALUE_BLOCK)[None, :]
    inside = (heads < stored) & (columns < VALUE_WIDTH)
    found = tl.load(value + token * value_token + heads * value_stride + columns, mask=inside, other=0.0)
    if NARROW:
        found = found.to(tl.float32)
        scales = scale_of(tl.max(tl.abs(found), axis=1)) + tl.sum(found * 0.0, axis=1)
        tl.store(value_scales + scale_at, scales, mask=own)
        found = narrow(tl.div_rn(found, scales[:, None]))
    tl.store(values + page * value_page + heads * value_head + offset * COLUMNS + columns, found, mask=inside)
