"""A row's own heads, as the projections leave them."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl


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
):
    """Returns float32 heads `[M, KEY_BLOCK]`, of which the first ROTATED numbers are rotated; zeros where none is.

    Pairs are half of ROTATED apart. If NORM, heads are divided by their root mean square and scaled before.
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
    cosine = tl.load(cosines + columns, mask=turns, other=1.0).to(tl.float32)
    sine = tl.load(sines + columns, mask=turns, other=0.0).to(tl.float32)
    return found * cosine + partner * tl.where(columns < half, -sine, sine)
