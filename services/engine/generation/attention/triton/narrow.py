"""Conversion to and from 8-bit floats (e4m3: sign, four bits of exponent, three of mantissa) by integer arithmetic.

So results are equal on all GPUs, also those before Ada, and in the interpreter, whose own conversion loses carries.
"""

# ruff: noqa: N803 - constants of a kernel are written in capitals
import triton
import triton.language as tl

from services.engine.generation.attention.triton.pages import places_in

_GREATEST = tl.constexpr(448.0)
_LEAST = tl.constexpr(1e-12)


@triton.jit
def scale_of(greatest):
    """Returns the scale for numbers with this greatest absolute value; equal to that of `kv_cache.narrowed`.

    `div_rn` rounds as a CPU does. A GPU's default division may be off by a bit.
    """
    return tl.div_rn(tl.maximum(greatest, _LEAST), _GREATEST)


@triton.jit
def narrow(numbers):
    """Returns uint8 e4m3 of float32 numbers within its range, rounded to nearest, ties to even."""
    sign = (numbers.to(tl.uint32, bitcast=True) >> 24) & 0x80
    size = tl.abs(numbers)
    bits = size.to(tl.uint32, bitcast=True)
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - 960  # 960 = (127 - 7) << 3, the biases' difference
    # Subnormal numbers are multiples of 1/512: added to a large number, they become its last bits.
    small = (size * 512.0 + 12582912.0).to(tl.uint32, bitcast=True) & 0xF
    found = tl.where(size < 0.015625, small, tl.minimum(normal, 0x7E))
    return (found | sign).to(tl.uint8)


@triton.jit
def widen(bits, KIND: tl.constexpr):
    """Converts uint8 e4m3 to KIND, exactly."""
    if tl.target_info.cuda_capability_geq(8, 9):  # one instruction for two numbers, instead of about ten for one
        found = bits.to(tl.float8e4nv, bitcast=True).to(tl.float16).to(tl.float32).to(KIND)
    else:  # shifted, they are float16 numbers with an exponent that is 8 too small
        wide = bits.to(tl.uint16)
        half = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
        found = (half.to(tl.float16, bitcast=True).to(tl.float32) * 256.0).to(KIND)
    return found


@triton.jit
def load_scales(scales, page, page_stride, start, end, PAGE: tl.constexpr, N: tl.constexpr):
    """Returns the scales `[N]` of the tokens [start, start + N) of a sequence; from `end` on, that of the last token.

    `scales` points to those of a head's first page; `page` is the result of `load_pages`.
    """
    page, offset = places_in(page, start, end, PAGE, N, True)
    return tl.load(scales + page * page_stride + offset)
