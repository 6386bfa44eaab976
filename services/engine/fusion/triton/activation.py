"""Activations of gated layers, for use in kernels."""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl


@triton.jit
def activated(x, ACTIVATION: tl.constexpr):
    """Returns an activation, by its number in `Gate`, of float32 `x`. Exponents are capped so that none overflows."""
    if ACTIVATION == 1:
        found = x / (1.0 + tl.exp(tl.minimum(-x, 80.0)))
    elif ACTIVATION == 2:  # tanh by one capped exponential: inf / inf cannot occur
        inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        found = x * (1.0 - 1.0 / (tl.exp(tl.minimum(2.0 * inner, 80.0)) + 1.0))
    elif ACTIVATION == 3:
        found = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif ACTIVATION == 4:
        found = x / (1.0 + tl.exp(tl.minimum(-1.702 * x, 80.0)))
    else:
        tl.static_assert(ACTIVATION == 5)
        found = tl.maximum(x, 0.0)
    return found
