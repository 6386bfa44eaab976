// Vectors as wide as a register, and operations that hide the difference between float32 and bfloat16.
//
// Memory is read in units of four bytes: one float, or two adjacent bfloat16. A line is sixteen units, 64 bytes, on every
// processor: packed weights and pages of the KV cache consist of lines. `Lanes` are as many floats of a line as fit a register,
// since compilers keep wider vectors in memory. `mac` multiplies lanes with one unit and adds the result to sums; of bfloat16
// it adds both products of each pair. So code that counts in units is the same for both types.

#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum {
    LINE = 16,      // units
    UNIT = 4,       // bytes
#ifdef __AVX512F__
    LANES = 16,
    MAX_ROWS = 14,  // rows of one product: 28 sums, two lines and a unit fit 32 registers
#elif defined(__AVX2__)
    LANES = 8,
    MAX_ROWS = 6,   // 12 sums with one line, two registers of that line and a unit fit 16 registers
#else
    LANES = 4,
    MAX_ROWS = 2,   // 8 sums with one line, 4 registers of that line and a unit fit 16 registers
#endif
    PARTS = LINE / LANES,  // registers of a line
};

// Do not dereference pointers to these types, since memory is not aligned for them.
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef uint32_t Units __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef int32_t Places __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint16_t Halves __attribute__((vector_size(LANES * sizeof(uint16_t))));

#define INLINE static inline __attribute__((always_inline))

INLINE Lanes splat(float value) { return value - (Lanes){0}; }

INLINE Units load_units(const void *from) {
    Units units;
    memcpy(&units, from, sizeof units);
    return units;
}

INLINE Lanes load_lanes(const float *from) {
    Lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

INLINE void store_lanes(float *to, Lanes lanes) { memcpy(to, &lanes, sizeof lanes); }

INLINE float widened(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Rounds to the nearest bfloat16, ties to even.
INLINE Halves narrowed(Lanes lanes) {
#ifdef __AVX512BF16__
    return (Halves)_mm512_cvtneps_pbh((__m512)lanes);
#else
    const Units bits = (Units)lanes;
    const Units rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const Units number = (Units)(lanes == lanes);  // all bits set, or none for a NaN, which rounding could make infinite
    return __builtin_convertvector((rounded & number) | (((bits >> 16) | 0x40) & ~number), Halves);
#endif
}

INLINE Lanes mac_f32(Lanes sum, uint32_t unit, Units line) {
    float value;
    memcpy(&value, &unit, sizeof value);
    return sum + value * (Lanes)line;
}

INLINE Lanes mac_bf16(Lanes sum, uint32_t unit, Units line) {
#ifdef __AVX512BF16__
    return (Lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)unit), (__m512bh)line);
#else
    const Lanes low = (Lanes)(line << 16), high = (Lanes)(line & 0xffff0000u);
    return sum + low * widened((uint16_t)unit) + high * widened((uint16_t)(unit >> 16));
#endif
}

INLINE Lanes load_f32(const float *from) { return load_lanes(from); }
INLINE Lanes load_bf16(const uint16_t *from) {
    Halves half;
    memcpy(&half, from, sizeof half);
    return (Lanes)(__builtin_convertvector(half, Units) << 16);
}
INLINE void store_f32(float *to, Lanes lanes) { store_lanes(to, lanes); }
INLINE void store_bf16(uint16_t *to, Lanes lanes) {
    const Halves half = narrowed(lanes);
    memcpy(to, &half, sizeof half);
}
INLINE void store_units(uint32_t *to, Units units) { memcpy(to, &units, sizeof units); }

// Return units with numbers of one row (float32), or of two rows that share units (bfloat16); the last may be missing.
INLINE uint32_t unit_f32(float first, float last) {
    (void)last;
    uint32_t unit;
    memcpy(&unit, &first, sizeof unit);
    return unit;
}
INLINE uint32_t unit_bf16(uint16_t first, uint16_t last) { return first | (uint32_t)last << 16; }
INLINE Units beside_f32(const float *first, const float *last) {
    (void)last;
    return load_units(first);
}
INLINE Units beside_bf16(const uint16_t *first, const uint16_t *last) {
    Halves low, high = {0};
    memcpy(&low, first, sizeof low);
    if (last) memcpy(&high, last, sizeof high);
    return __builtin_convertvector(low, Units) | __builtin_convertvector(high, Units) << 16;
}
INLINE float get_f32(float value) { return value; }
INLINE float get_bf16(uint16_t value) { return widened(value); }
INLINE float put_f32(float value) { return value; }
INLINE uint16_t put_bf16(float value) { return narrowed(splat(value))[0]; }

INLINE float largest(Lanes lanes) {
#ifdef __AVX512F__
    return _mm512_reduce_max_ps((__m512)lanes);
#else
    float top = lanes[0];
    for (int i = 1; i < LANES; i++) top = lanes[i] > top ? lanes[i] : top;
    return top;
#endif
}

INLINE float added(Lanes lanes) {
#ifdef __AVX512F__
    return _mm512_reduce_add_ps((__m512)lanes);
#else
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += lanes[i];
    return sum;
#endif
}

// The greater of each two lanes; that of `b` if one is NaN.
INLINE Lanes maximum(Lanes a, Lanes b) {
#ifdef __AVX512F__
    return (Lanes)_mm512_max_ps((__m512)a, (__m512)b);
#else
    const Units more = (Units)(a > b);  // all bits set, or none
    return (Lanes)(((Units)a & more) | ((Units)b & ~more));
#endif
}

INLINE Lanes minimum(Lanes a, Lanes b) { return -maximum(-a, -b); }

// Replaces all lanes outside of [first, last] by `otherwise`.
INLINE Lanes within(Lanes lanes, int64_t first, int64_t last, float otherwise) {
    static const int32_t places[LINE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    Places place;
    memcpy(&place, places, sizeof place);
    const int32_t from = first > LANES ? LANES : (int32_t)(first < 0 ? 0 : first), to = last < -1 ? -1 : last > LANES ? LANES : (int32_t)last;
    const Units kept = (Units)((place >= from) & (place <= to));  // all bits set, or none
    return (Lanes)(((Units)lanes & kept) | ((Units)splat(otherwise) & ~kept));
}

// Two to the power of each lane. Lanes are whole numbers of at most 127; the result is 0 below -126.
INLINE Lanes power_of_two(Lanes whole) {
    const Units ordinary = (Units)(whole >= -126.0f);  // all bits set, or none
    return (Lanes)(((Units)__builtin_convertvector(whole, Places) + 127) << 23 & ordinary);
}

// e to the power of each lane, with an error of at most 2 units in the last place: 2^n from its bits, the rest from its series.
// 0 where the result would be subnormal; e^88 above 88.
INLINE Lanes exponential(Lanes x) {
    // This order of arguments keeps NaN.
    const Lanes bounded = minimum(splat(88.0f), maximum(splat(-104.0f), x));
    // Adding and subtracting 1.5 * 2^23 rounds to whole numbers.
    const Lanes whole = (bounded * 1.44269504f + 12582912.0f) - 12582912.0f;
    const Lanes r = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Lanes y = r * 1.98412698e-4f + 1.38888889e-3f;
    y = y * r + 8.33333333e-3f;
    y = y * r + 4.16666667e-2f;
    y = y * r + 1.66666667e-1f;
    y = y * r + 0.5f;
    y = y * r * r + r + 1.0f;
#ifdef __AVX512F__
    return (Lanes)_mm512_scalef_ps((__m512)y, (__m512)whole);
#else
    return y * power_of_two(whole);
#endif
}

// The first units of two lines of columns, and addresses to prefetch, which advance by `pace` units with each unit.
typedef struct {
    const uint32_t *left, *right, *left_ahead, *right_ahead;
    int64_t pace;
} Lines;

typedef void (*Product)(const uint32_t *, int64_t, const Lines *, int64_t, int64_t, int64_t, float *, int64_t, int);

#define PASTE(a, b) a##_##b
#define PASTED(a, b) PASTE(a, b)
#define NAME(function) PASTED(function, KIND)
#define UNROLL _Pragma("GCC unroll 16")
#ifdef _OPENMP
#define PRAGMA(text) _Pragma(#text)
#define PARALLEL(threads) PRAGMA(omp parallel for num_threads(threads) if(threads > 1) schedule(static))
#else
#define PARALLEL(threads)
#endif
