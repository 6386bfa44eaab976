"""How what the splits of a product have found is added up."""

# ruff: noqa: N803, RUF005 - constants of a kernel are written in capitals, and it knows no stars in tuples
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false
import triton
import triton.language as tl


@triton.jit
def summed(parts, inside, stride, certain, PARTS: tl.constexpr):
    """Returns float32 sums of what lies at `parts` and PARTS - 1 times a stride further, added in that order.

    `certain` is true, which the compiler does not know. Left alone it takes few registers, and waits for some parts
    before it asks for the next: it may move no load behind a barrier, and no sum out of what may not happen.
    """
    found = ()
    for part in tl.static_range(PARTS):
        found = found + (tl.load(parts + part * stride, mask=inside, other=0.0, cache_modifier=".cg"),)
    total = tl.zeros(inside.shape, dtype=tl.float32)
    tl.debug_barrier()
    if certain:
        for part in tl.static_range(PARTS):
            total += found[part]
    return total
