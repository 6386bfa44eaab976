// Peak multiplications of a core with the native library's instructions: sums stay in registers, no memory is read.

#include "lanes.h"

enum { SUMS = 2 * MAX_ROWS };

#define MULTIPLY(KIND, NUMBERS)                                                                                        \
    int64_t multiply_##KIND(int64_t times, uint32_t unit, float *out) {                                                \
        Lanes sums[SUMS];                                                                                              \
        Units line = (Units){0} + unit;                                                                                \
        UNROLL for (int i = 0; i < SUMS; i++) sums[i] = splat(0.0f);                                                   \
        for (int64_t n = 0; n < times; n++) {                                                                          \
            __asm__ volatile("" : "+r"(unit));                                                                         \
            _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; i++) sums[i] = mac_##KIND(sums[i], unit, line);         \
        }                                                                                                              \
        for (int i = 1; i < SUMS; i++) sums[0] += sums[i];                                                             \
        store_lanes(out, sums[0]);                                                                                     \
        return times * SUMS * LANES * NUMBERS;                                                                         \
    }

MULTIPLY(f32, 1)
MULTIPLY(bf16, 2)
