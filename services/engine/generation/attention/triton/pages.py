"""How kernels read keys and values from their pages."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl


@triton.jit
def load_pages(pages, start, end, PAGE: tl.constexpr, N: tl.constexpr):
    """Returns the pages `[N]` in which the tokens [start, start + N) of a sequence are; any from `end` on."""
    places = start + tl.arange(0, N)
    return tl.load(pages + places // PAGE, mask=places < end, other=0).to(tl.int64)


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
    MASKED: tl.constexpr,
):
    """Returns keys `[KEY_BLOCK, N]` and values `[N, VALUE_BLOCK]` of the tokens [start, start + N) of a sequence.

    `page` is what `load_pages` returned for them; `key_at` and `value_at` point at a head's first page. With MASKED
    there are zeros from `end` on.
    """
    places = start + tl.arange(0, N)
    key_columns = tl.arange(0, KEY_BLOCK)
    value_columns = tl.arange(0, VALUE_BLOCK)
    there = places < end
    key_places = key_at + page * key_page + (places % PAGE) * KEY_WIDTH
    value_places = value_at + page * value_page + (places % PAGE) * COLUMNS
    if MASKED or KEY_WIDTH != KEY_BLOCK:
        inside = there[None, :]
        if KEY_WIDTH != KEY_BLOCK:
            inside &= (key_columns < KEY_WIDTH)[:, None]
        keys = tl.load(key_places[None, :] + key_columns[:, None], mask=inside, other=0)
    else:
        keys = tl.load(key_places[None, :] + key_columns[:, None])
    if MASKED or VALUE_WIDTH != VALUE_BLOCK:
        inside = there[:, None]
        if VALUE_WIDTH != VALUE_BLOCK:
            inside &= (value_columns < VALUE_WIDTH)[None, :]
        values = tl.load(value_places[:, None] + value_columns[None, :], mask=inside, other=0)
    else:
        values = tl.load(value_places[:, None] + value_columns[None, :])
    return keys, values
