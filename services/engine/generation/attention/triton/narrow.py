"""Numbers in 8 bits (e4m3: a sign, four bits of exponent, three of mantissa), made and read by arithmetic on bits.

So GPUs before Ada, and the interpreter, whose own conversion loses carries, compute the same as all others.
"""

# ruff: noqa: N803 - constants of a kernel are written in capitals
# pyright: reportArgumentType=false, reportOperatorIssue=false
import triton
import triton.language as tl

from services.engine.generation.attention.triton.pages import places_in

_GREATEST = tl.constexpr(448.0)
_LEAST = tl.constexpr(1e-12)


@triton.jit
def scale_of(greatest):
    """Returns what numbers of at most so much are divided by; as `kv_cache.narrowed` does it.

    A GPU's own quotients may be off by a bit: these, and those that are made narrow, are rounded as a CPU's.
    """
    return tl.div_rn(tl.maximum(greatest, _LEAST), _GREATEST)


@triton.jit
def narrow(numbers):
    """Returns uint8 of float32 numbers within the range, rounded to the nearest, of two the even one."""
    sign = (numbers.to(tl.uint32, bitcast=True) >> 24) & 0x80
    size = tl.abs(numbers)
    bits = size.to(tl.uint32, bitcast=True)
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - 960  # exponents have biases of 127 and of 7
    # Below the normal ones, multiples of 1/512: added to a large number, these are its last bits.
    small = (size * 512.0 + 12582912.0).to(tl.uint32, bitcast=True) & 0xF
    found = tl.where(size < 0.015625, small, tl.minimum(normal, 0x7E))
    return (found | sign).to(tl.uint8)


@triton.jit
def widen(bits, KIND: tl.constexpr):
    """Returns uint8 as numbers of that type, exactly: all of them hold these."""
    if tl.target_info.cuda_capability_geq(8, 9):  # two in one instruction, for some ten each
        found = bits.to(tl.float8e4nv, bitcast=True).to(tl.float16).to(tl.float32).to(KIND)
    else:  # shifted, they are float16 of an exponent that is 8 too small
        wide = bits.to(tl.uint16)
        half = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
        found = (half.to(tl.float16, bitcast=True).to(tl.float32) * 256.0).to(KIND)
    return found


@triton.jit
def load_scales(scales, page, page_stride, start, end, PAGE: tl.constexpr, N: tl.constexpr):
    """Returns the scales `[N]` of the tokens [start, start + N) of a sequence; from `end` on that of the last.

    `scales` points at those of a head's first page, `page` is what `load_pages` returned.
    """
    page, offset = places_in(page, start, end, PAGE, N, True)
    return tl.load(scales + page * page_stride + offset)
