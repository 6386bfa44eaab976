"""Loads keys and values from the paged cache."""

# ruff: noqa: N803, SIM108 - constants of a kernel are written in capitals, and its branches chosen by statements
import triton
import triton.language as tl


@triton.jit
def load_pages(pages, start, end, PAGE: tl.constexpr, N: tl.constexpr):
    """Returns the pages `[N / PAGE]` of the tokens [start, start + N) of a sequence; from `end` on, the last page.

    N and `start` are multiples of PAGE, so each page number is loaded once, not for each token.
    """
    tl.static_assert(N % PAGE == 0)
    places = tl.minimum(start // PAGE + tl.arange(0, N // PAGE), tl.maximum(end - 1, 0) // PAGE)
    return tl.load(pages + places).to(tl.int32)


@triton.jit
def places_in(page, start, end, PAGE: tl.constexpr, N: tl.constexpr, CUT: tl.constexpr):
    """Returns page (int64) and place in the page (int32), both `[N]`, of the tokens [start, start + N).

    From `end` on, tokens are the last one if CUT, else arbitrary numbers (maybe NaN) of the page. So loads need no
    mask, but such tokens must get no weight. `page` is the result of `load_pages`.
    """
    each = tl.broadcast_to(page[:, None], [N // PAGE, PAGE]).reshape([N])
    places = tl.arange(0, N)  # a page begins at `start`
    if CUT:
        places = tl.minimum(start + places, tl.maximum(end - 1, 0))
    return each.to(tl.int64), places % PAGE


@triton.jit
def load_block(
    page,
    key_at,
    value_at,
    key_page,
    value_page,
    start,
    end,
    PAGE: tl.constexpr,
    N: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    VALUE_BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    TURNED: tl.constexpr,
    CUT: tl.constexpr,
):
    """Returns keys `[KEY_BLOCK, N]`, or `[N, KEY_BLOCK]` if TURNED, and values `[N, VALUE_BLOCK]` of tokens [start,
    start + N).

    `page` is the result of `load_pages` for them; `key_at` and `value_at` point to a head's first page. From `end` on
    see `places_in`.
    """
    page, offset = places_in(page, start, end, PAGE, N, CUT)
    key_columns = tl.arange(0, KEY_BLOCK)
    value_columns = tl.arange(0, VALUE_BLOCK)
    key_places = key_at + page * key_page + offset * KEY_WIDTH
    value_places = value_at + page * value_page + offset * COLUMNS
    axis: tl.constexpr = 0 if TURNED else 1  # to be added to the columns of a key
    at, columns = tl.expand_dims(key_places, 1 - axis), tl.expand_dims(key_columns, axis)
    if KEY_WIDTH == KEY_BLOCK:
        keys = tl.load(at + columns)
    else:
        keys = tl.load(at + columns, mask=columns < KEY_WIDTH, other=0)
    if VALUE_WIDTH == VALUE_BLOCK:
        values = tl.load(value_places[:, None] + value_columns[None, :])
    else:
        inside = (value_columns < VALUE_WIDTH)[None, :]
        values = tl.load(value_places[:, None] + value_columns[None, :], mask=inside, other=0)
    return keys, values
