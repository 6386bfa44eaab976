"""Adds up the parts of a split-K product."""

# ruff: noqa: N803, RUF005 - constants of a kernel are written in capitals, and it knows no stars in tuples
import triton
import triton.language as tl


@triton.jit
def summed(parts, inside, stride, certain, PARTS: tl.constexpr):
    """Returns the float32 sum of `parts` and PARTS - 1 further ones, `stride` numbers apart, added in this order.

    `certain` has to be true, which the compiler cannot know. By itself it saves registers, and waits for some loads
    before it issues the next. It may neither move loads behind the barrier nor sums out of the condition, so all loads
    are issued at once.
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
