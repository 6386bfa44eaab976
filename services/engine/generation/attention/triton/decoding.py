"""The kernel for rows of a few tokens: queries of a key head over a part of the context, and the sum of the parts."""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportPossiblyUnboundVariable=false
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.generation.attention.triton.narrow import load_scales, narrow, scale_of, widen
from services.engine.generation.attention.triton.own import load_turned
from services.engine.generation.attention.triton.pages import load_block, load_pages
from services.engine.generation.attention.triton.parts import sum_parts
from services.engine.generation.attention.triton.softmax import LOGARITHM, capped, weigh_block


@triton.jit
def attend_token(
    query,
    cosines,
    sines,
    query_norm,
    key_norm,
    slots,
    keys,
    values,
    pages,
    blocks,
    totals,
    measures,
    arrivals,
    sinks,
    output,
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
    epsilon,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    PAGE: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    QUERIES: tl.constexpr,
    PARTS: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    NARROW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr,
    SINKS: tl.constexpr,
    ROTATED: tl.constexpr,
    NORM: tl.constexpr,
    EARLY: tl.constexpr,
):
    """Writes `[T, HEADS, VALUE_WIDTH]` for the queries of one key head and one row of `blocks`; see `QueryBlocks`.

    The context is split among at most PARTS programs, of which the last to be done sums what all have found: that lies
    in `totals` and `measures` meanwhile, see `sum_parts`, and `arrivals` `[blocks, KV_HEADS]` counts from zero to zero.

    Without ROTATED the rows' keys and values are in their pages already, and a block has up to QUERIES tokens. With it
    it has one, and `query` is `[T, queries | keys | values]` as the projections leave it: the first ROTATED numbers of
    a head are rotated here, normalized before if NORM, and the row's key and value are stored at its slot, or nowhere
    where that is negative.
    """
    GROUP: tl.constexpr = HEADS // KV_HEADS
    if EARLY:
        gdc_launch_dependents()
        if not ROTATED:
            gdc_wait()
    number = tl.program_id(0)
    kv_head = tl.program_id(1)
    part = tl.program_id(2)
    block = blocks + number * 5
    first = tl.load(block).to(tl.int64)
    count = tl.load(block + 1).to(tl.int32)
    end = tl.load(block + 2).to(tl.int32) + count
    pages += tl.load(block + 3)
    stored = end - count if ROTATED else end
    begin = 0
    if WINDOW:
        begin = tl.maximum(end - count + 1 - window, 0) // N * N
    tokens = tl.load(block + 4).to(tl.int32)
    parts = tl.minimum(tl.maximum((stored - begin + tokens // 2) // tokens, 1), PARTS)
    length = tl.maximum(tl.cdiv(tl.cdiv(stored - begin, N), parts), 1) * N
    parts = tl.maximum(tl.cdiv(stored - begin, length), 1)
    if part >= parts:
        return
    begin += part * length
    until = tl.minimum(begin + length, stored)
    key_at = keys + kv_head * key_head
    value_at = values + kv_head * value_head
    key_scales += kv_head * scale_head
    value_scales += kv_head * scale_head
    # What was stored in earlier steps may be read before the kernel in front has ended.
    page = load_pages(pages, begin, until, PAGE, N)
    some_keys, some_values = load_block(
        page, key_at, value_at, key_page, value_page, begin, until, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH,
        VALUE_BLOCK, COLUMNS,
    )  # fmt: skip
    key_scale, value_scale = 1.0, 1.0
    if NARROW:
        key_scale = load_scales(key_scales, page, scale_page, begin, until, PAGE, N)
        value_scale = load_scales(value_scales, page, scale_page, begin, until, PAGE, N)
    page = load_pages(pages, begin + N, until, PAGE, N)
    rows = tl.arange(0, M)  # those of one token's heads behind one another
    lanes = rows // GROUP
    used = rows < GROUP * count
    key_columns = tl.arange(0, KEY_BLOCK)
    value_columns = tl.arange(0, VALUE_BLOCK)
    heads = kv_head * GROUP + rows % GROUP
    query += first * query_token
    total = tl.zeros([M, VALUE_BLOCK], dtype=tl.float32)
    best = tl.full([M], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([M], dtype=tl.float32)
    if ROTATED:
        if EARLY:
            gdc_wait()
        kind = query.dtype.element_ty
        cosines += first * ROTATED
        sines += first * ROTATED
        at = query + heads[:, None] * KEY_WIDTH
        there = (rows < GROUP)[:, None]
        queries = load_turned(at, there, query_norm, cosines, sines, epsilon, KEY_WIDTH, KEY_BLOCK, ROTATED, NORM)
        queries = queries.to(kind)
        at = query + (HEADS + kv_head) * KEY_WIDTH + tl.zeros([1, 1], dtype=tl.int32)
        there = tl.full([1, 1], True, dtype=tl.int1)
        key = load_turned(at, there, key_norm, cosines, sines, epsilon, KEY_WIDTH, KEY_BLOCK, ROTATED, NORM).to(kind)
        at = query + (HEADS + KV_HEADS) * KEY_WIDTH + kv_head * VALUE_WIDTH
        value = tl.load(at + value_columns, mask=value_columns < VALUE_WIDTH, other=0.0)
        key_stored, value_stored = key, value
        own_key_scale, own_value_scale = 1.0, 1.0
        if NARROW:
            wide_key, wide_value = key.to(tl.float32), value.to(tl.float32)
            own_key_scale = scale_of(tl.max(tl.abs(wide_key))) + tl.sum(wide_key * 0.0)
            own_value_scale = scale_of(tl.max(tl.abs(wide_value))) + tl.sum(wide_value * 0.0)
            key_stored, value_stored = narrow(wide_key / own_key_scale), narrow(wide_value / own_value_scale)
        slot = tl.load(slots + first).to(tl.int64)
        own_page, offset = slot // PAGE, slot % PAGE
        stores = (part == 0) & (slot >= 0)
        at = key_at + own_page * key_page + offset * KEY_WIDTH + key_columns[None, :]
        tl.store(at, key_stored, mask=(key_columns < tl.where(stores, KEY_WIDTH, 0))[None, :])
        at = value_at + own_page * value_page + offset * COLUMNS + value_columns
        tl.store(at, value_stored, mask=value_columns < tl.where(stores, VALUE_WIDTH, 0))
        if NARROW:
            at = own_page * scale_page + offset
            tl.store(key_scales + at, own_key_scale, mask=stores)
            tl.store(value_scales + at, own_value_scale, mask=stores)
            # As whoever reads them later finds them.
            key = widen(key_stored, tl.float32) * own_key_scale
            value = widen(value_stored, tl.float32) * own_value_scale
        if part == 0:  # a token sees itself
            score = tl.sum(queries.to(tl.float32) * key.to(tl.float32), axis=1) * scaling
            if SOFTCAP:
                score = capped(score, softcap)
            best = score * LOGARITHM
            weight += 1.0
            total += value.to(tl.float32)[None, :]
    else:
        inside = used[:, None] & (key_columns < KEY_WIDTH)[None, :]
        at = query + lanes[:, None] * query_token + heads[:, None] * query_head
        queries = tl.load(at + key_columns[None, :], mask=inside, other=0.0)
    positions = tl.minimum(end - count + lanes, end - 1)
    for start in range(begin, until, N):
        next_keys, next_values = load_block(  # on their way while those before are worked on
            page, key_at, value_at, key_page, value_page, start + N, until, PAGE, N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH,
            VALUE_BLOCK, COLUMNS,
        )  # fmt: skip
        if NARROW:
            next_key_scale = load_scales(key_scales, page, scale_page, start + N, until, PAGE, N)
            next_value_scale = load_scales(value_scales, page, scale_page, start + N, until, PAGE, N)
        page = load_pages(pages, start + 2 * N, until, PAGE, N)
        total, best, weight = weigh_block(
            queries, (total, best, weight), some_keys, some_values, key_scale, value_scale, start, positions, until,
            window, scaling, softcap, N, NARROW, SOFTCAP, WINDOW, True,
        )  # fmt: skip
        some_keys, some_values = next_keys, next_values
        if NARROW:
            key_scale, value_scale = next_key_scale, next_value_scale
    output += first * HEADS * VALUE_WIDTH
    inside = used[:, None] & (value_columns < VALUE_WIDTH)[None, :]
    if parts == 1:
        if SINKS:
            sink = tl.load(sinks + heads, mask=used, other=0.0).to(tl.float32) * LOGARITHM
            higher = tl.maximum(best, sink)
            fading = tl.exp2(best - higher)
            weight = weight * fading + tl.exp2(sink - higher)
            total *= fading[:, None]
        result = (total / tl.where(weight > 0.0, weight, 1.0)[:, None]).to(output.dtype.element_ty)
        own = output + (lanes * HEADS + heads)[:, None] * VALUE_WIDTH
        tl.store(own + value_columns[None, :], result, mask=inside)
        return
    place = (number * KV_HEADS + kv_head) * GROUP * QUERIES
    places = (place + rows) * PARTS + part
    tl.store(totals + places.to(tl.int64)[:, None] * VALUE_WIDTH + value_columns[None, :], total, mask=inside)
    tl.store(measures + places * 2, best, mask=used)
    tl.store(measures + places * 2 + 1, weight, mask=used)
    tl.debug_barrier()  # all threads have stored theirs
    counter = arrivals + number * KV_HEADS + kv_head
    if tl.atomic_add(counter, 1, sem="acq_rel") == parts - 1:
        tl.store(counter, 0)
        sum_parts(
            totals + place.to(tl.int64) * PARTS * VALUE_WIDTH, measures + place * PARTS * 2, parts, count,
            sinks + kv_head * GROUP, output + kv_head * GROUP * VALUE_WIDTH, HEADS, GROUP, QUERIES, PARTS, VALUE_WIDTH,
            VALUE_BLOCK, SINKS,
        )  # fmt: skip
