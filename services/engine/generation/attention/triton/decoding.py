"""The decode kernel: queries of one key head over a part of the context (split-K over tokens), and the sum of the
parts.

A context is divided among up to PARTS programs, in proportion to its length. The last of them to finish combines the
results, which are in `totals` and `measures` until then, see `sum_parts`. `arrivals` `[blocks, KV_HEADS]` counts the
finished ones, from zero and back to zero. There must be enough programs for all parts; see `most_programs`.

Without ROTATED, the rows' keys and values are in the cache already, and a block has up to QUERIES tokens. With it, a
block has one token and `query` is `[T, queries | keys | values]`, the output of the projections: the kernel norms
heads if NORM, rotates their first ROTATED numbers, and stores key and value in the row's slot, or nowhere if that is
negative.
"""

# ruff: noqa: N803, N806 - constants of a kernel are written in capitals
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from services.engine.generation.attention.triton.own import load_turned, store_own
from services.engine.generation.attention.triton.pages import load_pages
from services.engine.generation.attention.triton.parts import store_part, sum_parts, write_whole
from services.engine.generation.attention.triton.softmax import LOGARITHM, capped, load_tokens, weigh_block

ROOM = tl.constexpr(1024)
"""Most numbers of queries with which registers also hold as many numbers of the key and of the angles."""


@triton.jit(do_not_specialize=["numbers"])
def attend_token(
    query, cosines, sines, query_norm, key_norm, slots, keys, values, pages, blocks, totals, measures, arrivals, sinks,
    output, query_token, query_head, key_page, key_head, value_page, value_head, key_scales, value_scales, scale_page,
    scale_head, scaling, softcap, window, epsilon, numbers,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, PAGE: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
    QUERIES: tl.constexpr, PARTS: tl.constexpr, KEY_WIDTH: tl.constexpr, KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr, NARROW: tl.constexpr,
    SOFTCAP: tl.constexpr, WINDOW: tl.constexpr, SINKS: tl.constexpr, ROTATED: tl.constexpr, NORM: tl.constexpr,
    TURNED: tl.constexpr, BLOCKS: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Writes `[T, HEADS, VALUE_WIDTH]` for the queries of one key head and one block; see `QueryBlocks`."""
    if EARLY:
        gdc_launch_dependents()
        if not ROTATED:
            gdc_wait()
    kv_head = tl.program_id(0)
    number, part = chosen_part(blocks, numbers, window, BLOCKS, N, PARTS, WINDOW, ROTATED)
    if number == numbers:  # a program without work writes nothing, so it need not wait for the previous kernel
        return
    first, count, end, pages, begin, until, parts = context_of(
        blocks + number * 5, part, pages, window, N, PARTS, WINDOW, ROTATED
    )  # fmt: skip
    keys, values = keys + kv_head * key_head, values + kv_head * value_head
    key_scales, value_scales = key_scales + kv_head * scale_head, value_scales + kv_head * scale_head
    # Keys and values of earlier steps may be loaded before the previous kernel has ended.
    page = load_pages(pages, begin, until, PAGE, N)
    tokens = load_tokens(
        page, keys, values, key_scales, value_scales, key_page, value_page, scale_page, begin, until, PAGE, N,
        KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, TURNED, not TURNED,
    )  # fmt: skip
    page = load_pages(pages, begin + N, until, PAGE, N)
    GROUP: tl.constexpr = HEADS // KV_HEADS
    rows = tl.arange(0, M)  # by token, then by head
    lanes, used, heads = rows // GROUP, rows < GROUP * count, kv_head * GROUP + rows % GROUP
    queries, total, best, weight = queries_of(
        query, cosines, sines, query_norm, key_norm, slots, keys, values, first, heads, lanes, used, part, query_token,
        query_head, key_page, value_page, key_scales, value_scales, scale_page, kv_head, scaling, softcap, epsilon,
        HEADS, KV_HEADS, PAGE, M, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, SOFTCAP, ROTATED,
        NORM, EARLY,
    )  # fmt: skip
    positions = tl.minimum(end - count + lanes, end - 1)
    total, best, weight = seen_of_part(
        queries, (total, best, weight), tokens, page, pages, keys, values, key_scales, value_scales, key_page,
        value_page, scale_page, begin, until, positions, window, scaling, softcap, PAGE, N, KEY_WIDTH, KEY_BLOCK,
        VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, SOFTCAP, WINDOW, WINDOW or not (ROTATED and TURNED), TURNED,
    )  # fmt: skip
    write_or_leave(
        total, best, weight, totals, measures, arrivals, sinks, output + first * HEADS * VALUE_WIDTH, number, kv_head,
        heads, lanes, used, part, parts, count, HEADS, KV_HEADS, M, QUERIES, PARTS, VALUE_WIDTH, VALUE_BLOCK, SINKS,
    )  # fmt: skip


@triton.jit
def chosen_part(
    blocks, numbers, window, BLOCKS: tl.constexpr, N: tl.constexpr, PARTS: tl.constexpr, WINDOW: tl.constexpr,
    ROTATED: tl.constexpr,
):  # fmt: skip
    """Returns the block of this program and the part of its context, or `numbers` if there is no work for it.

    Programs are assigned to the parts of all blocks with queries, in order. If each block had as many programs as the
    longest context could need, most would have no work, and starting them takes longer than attention itself.
    """
    each = tl.arange(0, BLOCKS)
    there = each < numbers
    count = tl.load(blocks + each * 5 + 1, mask=there, other=0).to(tl.int32)
    position = tl.load(blocks + each * 5 + 2, mask=there, other=0).to(tl.int32)
    tokens = tl.load(blocks + each * 5 + 4, mask=there, other=1).to(tl.int32)
    stored = position if ROTATED else position + count
    _, _, parts = shared_out(position, stored, tokens, window, N, PARTS, WINDOW)
    parts = tl.where(count > 0, parts, 0)
    before = tl.cumsum(parts, axis=0) <= tl.program_id(1)
    number = tl.sum((before & there).to(tl.int32), axis=0)
    return number, tl.program_id(1) - tl.sum(tl.where(before, parts, 0), axis=0)


@triton.jit
def context_of(
    block, part, pages, window, N: tl.constexpr, PARTS: tl.constexpr, WINDOW: tl.constexpr, ROTATED: tl.constexpr
):
    """Returns a block's first row, its number of tokens, the end of its context and where its pages are listed; then
    which tokens [begin, until) of the context one part of it has, and the number of parts.
    """
    first = tl.load(block).to(tl.int64)
    count = tl.load(block + 1).to(tl.int32)
    end = tl.load(block + 2).to(tl.int32) + count
    pages += tl.load(block + 3)
    stored = end - count if ROTATED else end
    tokens = tl.load(block + 4).to(tl.int32)
    begin, length, parts = shared_out(end - count, stored, tokens, window, N, PARTS, WINDOW)
    begin += part * length
    return first, count, end, pages, begin, tl.minimum(begin + length, stored), parts


@triton.jit
def shared_out(position, stored, tokens, window, N: tl.constexpr, PARTS: tl.constexpr, WINDOW: tl.constexpr):
    """Returns the first token that a block sees, how many tokens a program takes, and how many programs it needs.

    A program takes up to `tokens`, or more if that would need more than PARTS programs.
    """
    begin = 0
    if WINDOW:
        begin = tl.maximum(position + 1 - window, 0) // N * N
    parts = tl.minimum(tl.maximum(tl.cdiv(stored - begin, tokens), 1), PARTS)
    length = tl.maximum(tl.cdiv(tl.cdiv(stored - begin, N), parts), 1) * N
    return begin, length, tl.maximum(tl.cdiv(stored - begin, length), 1)


@triton.jit
def queries_of(
    query, cosines, sines, query_norm, key_norm, slots, keys, values, first, heads, lanes, used, part, query_token,
    query_head, key_page, value_page, key_scales, value_scales, scale_page, kv_head, scaling, softcap, epsilon,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, PAGE: tl.constexpr, M: tl.constexpr, KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
    NARROW: tl.constexpr, SOFTCAP: tl.constexpr, ROTATED: tl.constexpr, NORM: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Returns queries `[M, KEY_BLOCK]` and the softmax state before the context: with ROTATED each token's own key and
    value.
    """
    rows, columns = tl.arange(0, M), tl.arange(0, KEY_BLOCK)
    query += first * query_token
    total = tl.zeros([M, VALUE_BLOCK], dtype=tl.float32)
    best = tl.full([M], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([M], dtype=tl.float32)
    if ROTATED:
        if EARLY:
            gdc_wait()
        cosines += first * ROTATED
        sines += first * ROTATED
        at = query + heads[:, None] * KEY_WIDTH
        there = (rows < HEADS // KV_HEADS)[:, None]
        # Loads of equal shapes have equal register layouts, so that all are issued before the first is waited for.
        ALIKE: tl.constexpr = M if M * KEY_BLOCK <= ROOM else 1
        queries = load_turned(
            at, there, query_norm, cosines, sines, epsilon, KEY_WIDTH, KEY_BLOCK, ROTATED, NORM, ALIKE
        )  # fmt: skip
        queries = queries.to(query.dtype.element_ty)
        key, value = store_own(
            query, cosines, sines, key_norm, epsilon, slots + first, keys, values, key_scales, value_scales,
            key_page, value_page, scale_page, kv_head, part == 0, HEADS, KV_HEADS, PAGE, ALIKE, KEY_WIDTH,
            KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, ROTATED, NORM,
        )  # fmt: skip
        if part == 0:  # a token sees itself
            score = tl.sum(queries.to(tl.float32) * key.to(tl.float32), axis=1) * scaling
            if SOFTCAP:
                score = capped(score, softcap)
            best = score * LOGARITHM
            weight += 1.0
            total += value.to(tl.float32)[None, :]
    else:
        inside = used[:, None] & (columns < KEY_WIDTH)[None, :]
        at = query + lanes[:, None] * query_token + heads[:, None] * query_head
        queries = tl.load(at + columns[None, :], mask=inside, other=0.0)
    return queries, total, best, weight


@triton.jit
def seen_of_part(
    queries, state, tokens, page, pages, key_at, value_at, key_scales, value_scales, key_page, value_page, scale_page,
    begin, until, positions, window, scaling, softcap,
    PAGE: tl.constexpr, N: tl.constexpr, KEY_WIDTH: tl.constexpr, KEY_BLOCK: tl.constexpr, VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr, COLUMNS: tl.constexpr, NARROW: tl.constexpr, SOFTCAP: tl.constexpr,
    WINDOW: tl.constexpr, MASKED: tl.constexpr, TURNED: tl.constexpr,
):  # fmt: skip
    """Returns `state` after the tokens [begin, until); see `weigh_block`, whose queries and totals are TURNED.

    `tokens` are the first N of them, as `load_tokens` returns them, and `page` has the pages of the next N.
    """
    if TURNED:
        queries, state = tl.trans(queries), (tl.trans(state[0]), state[1], state[2])
    keys, values, key_scale, value_scale = tokens
    # Whole blocks need no mask, and two at a time are faster. If TURNED, there are enough registers for that.
    whole = begin + tl.maximum(until - begin, 0) // N * N if TURNED else until
    for start in tl.range(begin, whole, N, loop_unroll_factor=2 if TURNED else 1):
        next_keys, next_values, next_key_scale, next_value_scale = load_tokens(  # while this block is computed
            page, key_at, value_at, key_scales, value_scales, key_page, value_page, scale_page, start + N, until, PAGE,
            N, KEY_WIDTH, KEY_BLOCK, VALUE_WIDTH, VALUE_BLOCK, COLUMNS, NARROW, TURNED, not TURNED,
        )  # fmt: skip
        page = load_pages(pages, start + 2 * N, until, PAGE, N)
        state = weigh_block(
            queries, state, keys, values, key_scale, value_scale, start, positions, until, window, scaling, softcap, N,
            NARROW, SOFTCAP, WINDOW, MASKED, TURNED,
        )  # fmt: skip
        keys, values = next_keys, next_values
        if NARROW:
            key_scale, value_scale = next_key_scale, next_value_scale
    if TURNED and whole < until:
        values = tl.where((whole + tl.arange(0, N) < until)[:, None], values, 0).to(values.dtype)
        state = weigh_block(
            queries, state, keys, values, key_scale, value_scale, whole, positions, until, window, scaling, softcap, N,
            NARROW, SOFTCAP, WINDOW, True, TURNED,
        )  # fmt: skip
    total, best, weight = state
    if TURNED:
        total = tl.trans(total)
    return total, best, weight


@triton.jit
def write_or_leave(
    total, best, weight, totals, measures, arrivals, sinks, output, number, kv_head, heads, lanes, used, part, parts,
    count, HEADS: tl.constexpr, KV_HEADS: tl.constexpr, M: tl.constexpr, QUERIES: tl.constexpr, PARTS: tl.constexpr,
    VALUE_WIDTH: tl.constexpr, VALUE_BLOCK: tl.constexpr, SINKS: tl.constexpr,
):  # fmt: skip
    """Writes the result if this program has the whole context; else stores its part, and the last one combines all."""
    GROUP: tl.constexpr = HEADS // KV_HEADS
    rows = tl.arange(0, M)
    if parts == 1:
        write_whole(
            total, best, weight, sinks, output, heads, lanes, used, HEADS, VALUE_WIDTH, VALUE_BLOCK, SINKS
        )  # fmt: skip
    else:
        own = kv_head * tl.num_programs(1) + tl.program_id(1)
        store_part(total, best, weight, totals, measures, own * GROUP * QUERIES + rows, used, VALUE_WIDTH, VALUE_BLOCK)
        tl.debug_barrier()  # wait until all threads have stored their numbers
        counter = arrivals + number * KV_HEADS + kv_head
        if tl.atomic_add(counter, 1, sem="acq_rel") == parts - 1:
            tl.store(counter, 0)
            place = (own - part) * GROUP * QUERIES
            sum_parts(
                totals + place.to(tl.int64) * VALUE_WIDTH, measures + place * 2, parts, count,
                sinks + kv_head * GROUP, output + kv_head * GROUP * VALUE_WIDTH, HEADS, GROUP, QUERIES, PARTS,
                VALUE_WIDTH, VALUE_BLOCK, SINKS,
            )  # fmt: skip
