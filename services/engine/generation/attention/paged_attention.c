// Attention of a step's new tokens over a paged cache, on one CPU thread. Compiled at first use; see kernel.py.
//
// Layout of a page: keys [kv_head][width][PAGE], values [kv_head][PAGE][width]. So the scores of a page's tokens are one
// vector per query, summed over the width without ever adding across lanes, and the values of a token are contiguous.
// Softmax is exact and in float32, with a running maximum; the queries of a group share what is read.

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { PAGE = 16, MAX_GROUP = 32, MAX_WIDTH = 576 };

typedef float Lanes __attribute__((vector_size(PAGE * sizeof(float)), aligned(4)));
typedef uint32_t Bits __attribute__((vector_size(PAGE * sizeof(uint32_t)), aligned(4)));
typedef uint16_t Half __attribute__((vector_size(PAGE * sizeof(uint16_t)), aligned(2)));

typedef struct {
    const int64_t *pages;  // page numbers of the sequence, in order
    int64_t start;         // place of its first new token in the packed batch
    int64_t length;        // new tokens
    int64_t context;       // tokens in all, the new ones included
} Row;

typedef struct {
    int64_t heads, kv_heads, key_width, value_width;
    int64_t window;          // tokens seen, the own one included; 0: all
    float scaling, softcap;  // softcap 0: none
    const float *sinks;      // [heads], or NULL
    const float *bias;       // [heads][tokens of the batch][bias_width], added to the scores; or NULL
    int64_t bias_tokens, bias_width;
} Layer;

static inline Lanes splat(float value) { return value - (Lanes){0}; }

static inline float widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
}

static inline Lanes load_f32(const float *from) {
    Lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

static inline Lanes load_bf16(const uint16_t *from) {
    Half half;
    memcpy(&half, from, sizeof half);
    return (Lanes)(__builtin_convertvector(half, Bits) << 16);
}

static inline float get_f32(float value) { return value; }
static inline float get_bf16(uint16_t value) { return widen(value); }
static inline float put_f32(float value) { return value; }
static inline uint16_t put_bf16(float value) { return narrow(value); }

static inline float largest(Lanes lanes) {
    float top = lanes[0];
    for (int i = 1; i < PAGE; i++) top = lanes[i] > top ? lanes[i] : top;
    return top;
}

static inline float added(Lanes lanes) {
    float sum = 0;
    for (int i = 0; i < PAGE; i++) sum += lanes[i];
    return sum;
}

// e to the power of each lane, at most 0, to within 2 units in the last place: 2^n by its bits, the rest by its series.
static inline Lanes exponential(Lanes x) {
    Lanes bounded;
    for (int i = 0; i < PAGE; i++) bounded[i] = x[i] > -87.0f ? x[i] : -87.0f;
    const Lanes scaled = bounded * 1.44269504f;
    Lanes whole;
    for (int i = 0; i < PAGE; i++) whole[i] = rintf(scaled[i]);
    const Lanes r = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Lanes y = r * 1.98412698e-4f + 1.38888889e-3f;
    y = y * r + 8.33333333e-3f;
    y = y * r + 4.16666667e-2f;
    y = y * r + 1.66666667e-1f;
    y = y * r + 0.5f;
    y = y * r * r + r + 1.0f;
    Bits power;
    for (int i = 0; i < PAGE; i++) power[i] = (uint32_t)((int32_t)whole[i] + 127) << 23;
    y *= (Lanes)power;
    for (int i = 0; i < PAGE; i++) y[i] = x[i] > -87.0f ? y[i] : 0.0f;
    return y;
}

#define ATTENTION(KIND, TYPE)                                                                                          \
    static void token_##KIND(const Layer *layer, const TYPE *query, const TYPE *keys, const TYPE *values,              \
                             const int64_t *pages, int64_t token, int64_t position, int64_t head, TYPE *output) {      \
        const int64_t group = layer->heads / layer->kv_heads, kw = layer->key_width, vw = layer->value_width;          \
        const int64_t blocks = (vw + PAGE - 1) / PAGE;                                                                 \
        const int64_t first = layer->window > 0 && position >= layer->window ? position + 1 - layer->window : 0;       \
        float q[MAX_GROUP][MAX_WIDTH], top[MAX_GROUP], total[MAX_GROUP];                                               \
        Lanes sum[MAX_GROUP][MAX_WIDTH / PAGE];                                                                        \
        for (int64_t g = 0; g < group; g++) {                                                                          \
            for (int64_t d = 0; d < kw; d++) q[g][d] = get_##KIND(query[(head * group + g) * kw + d]) * layer->scaling;\
            for (int64_t b = 0; b < blocks; b++) sum[g][b] = (Lanes){0};                                               \
            top[g] = layer->sinks ? layer->sinks[head * group + g] : -INFINITY;                                        \
            total[g] = layer->sinks ? 1.0f : 0.0f;                                                                     \
        }                                                                                                              \
        for (int64_t p = first / PAGE; p * PAGE <= position; p++) {                                                    \
            const int64_t from = first > p * PAGE ? first - p * PAGE : 0;                                              \
            const int64_t to = position + 1 < (p + 1) * PAGE ? position + 1 - p * PAGE : PAGE;                         \
            const TYPE *key = keys + (pages[p] * layer->kv_heads + head) * kw * PAGE;                                  \
            const TYPE *value = values + (pages[p] * layer->kv_heads + head) * PAGE * vw;                              \
            Lanes score[MAX_GROUP];                                                                                    \
            for (int64_t g = 0; g < group; g += 2) {                                                                   \
                Lanes a = {0}, b = {0}, c = {0}, e = {0};                                                              \
                const float *q0 = q[g], *q1 = q[g + 1 < group ? g + 1 : g];                                            \
                int64_t d = 0;                                                                                         \
                for (; d + 1 < kw; d += 2) {                                                                           \
                    const Lanes k0 = load_##KIND(key + d * PAGE), k1 = load_##KIND(key + (d + 1) * PAGE);              \
                    a += k0 * q0[d];                                                                                   \
                    b += k0 * q1[d];                                                                                   \
                    c += k1 * q0[d + 1];                                                                               \
                    e += k1 * q1[d + 1];                                                                               \
                }                                                                                                      \
                for (; d < kw; d++) {                                                                                  \
                    a += load_##KIND(key + d * PAGE) * q0[d];                                                          \
                    b += load_##KIND(key + d * PAGE) * q1[d];                                                          \
                }                                                                                                      \
                score[g] = a + c;                                                                                      \
                if (g + 1 < group) score[g + 1] = b + e;                                                               \
            }                                                                                                          \
            for (int64_t g = 0; g < group; g++) {                                                                      \
                float *lane = (float *)&score[g];                                                                      \
                if (layer->softcap > 0)                                                                                \
                    for (int t = 0; t < PAGE; t++) lane[t] = tanhf(lane[t] / layer->softcap) * layer->softcap;         \
                if (layer->bias) {                                                                                     \
                    const float *bias = layer->bias +                                                                  \
                        ((head * group + g) * layer->bias_tokens + token) * layer->bias_width + p * PAGE;              \
                    for (int64_t t = from; t < to; t++) lane[t] += bias[t];                                            \
                }                                                                                                      \
                for (int64_t t = 0; t < from; t++) lane[t] = -INFINITY;                                                \
                for (int64_t t = to; t < PAGE; t++) lane[t] = -INFINITY;                                               \
                const float now = largest(score[g]);                                                                   \
                if (now > top[g]) {                                                                                    \
                    const float fade = expf(top[g] - now);                                                             \
                    total[g] *= fade;                                                                                  \
                    for (int64_t b = 0; b < blocks; b++) sum[g][b] *= fade;                                            \
                    top[g] = now;                                                                                      \
                }                                                                                                      \
                score[g] = exponential(score[g] - top[g]);                                                             \
                total[g] += added(score[g]);                                                                           \
            }                                                                                                          \
            if (vw % PAGE == 0) {                                                                                      \
                for (int64_t b = 0; b < blocks; b++) {                                                                 \
                    for (int64_t g = 0; g < group; g += 2) {                                                           \
                        const int64_t h = g + 1 < group ? g + 1 : g;                                                   \
                        Lanes s0 = sum[g][b], s1 = sum[h][b];                                                          \
                        for (int64_t t = from; t < to; t++) {                                                          \
                            const Lanes v = load_##KIND(value + t * vw + b * PAGE);                                    \
                            s0 += v * score[g][t];                                                                     \
                            s1 += v * score[h][t];                                                                     \
                        }                                                                                              \
                        sum[g][b] = s0;                                                                                \
                        if (h != g) sum[h][b] = s1;                                                                    \
                    }                                                                                                  \
                }                                                                                                      \
            } else {                                                                                                   \
                for (int64_t t = from; t < to; t++)                                                                    \
                    for (int64_t g = 0; g < group; g++)                                                                \
                        for (int64_t d = 0; d < vw; d++)                                                               \
                            ((float *)sum[g])[d] += get_##KIND(value[t * vw + d]) * score[g][t];                       \
            }                                                                                                          \
        }                                                                                                              \
        for (int64_t g = 0; g < group; g++)                                                                            \
            for (int64_t d = 0; d < vw; d++)                                                                           \
                output[(head * group + g) * vw + d] = put_##KIND(((float *)sum[g])[d] / total[g]);                   \
    }                                                                                                                  \
                                                                                                                       \
    void attend_##KIND(const Layer *layer, const Row *rows, int64_t row_count, const TYPE *query, const TYPE *keys,    \
                       const TYPE *values, TYPE *output) {                                                             \
        for (int64_t r = 0; r < row_count; r++)                                                                        \
            for (int64_t n = 0; n < rows[r].length; n++) {                                                             \
                const int64_t token = rows[r].start + n, position = rows[r].context - rows[r].length + n;              \
                for (int64_t h = 0; h < layer->kv_heads; h++)                                                          \
                    token_##KIND(layer, query + token * layer->heads * layer->key_width, keys, values, rows[r].pages,  \
                                 token, position, h, output + token * layer->heads * layer->value_width);                     \
            }                                                                                                          \
    }

#define STORING(KIND, TYPE)                                                                                            \
    void store_##KIND(const Layer *layer, const int64_t *slots, int64_t count, const TYPE *key, const TYPE *value,     \
                      TYPE *keys, TYPE *values) {                                                                      \
        const int64_t kw = layer->key_width, vw = layer->value_width;                                                  \
        for (int64_t n = 0; n < count; n++) {                                                                          \
            const int64_t page = slots[n] / PAGE, place = slots[n] % PAGE;                                             \
            for (int64_t h = 0; h < layer->kv_heads; h++) {                                                            \
                TYPE *to = keys + (page * layer->kv_heads + h) * kw * PAGE + place;                                    \
                for (int64_t d = 0; d < kw; d++) to[d * PAGE] = key[(n * layer->kv_heads + h) * kw + d];               \
                memcpy(values + ((page * layer->kv_heads + h) * PAGE + place) * vw,                                    \
                       value + (n * layer->kv_heads + h) * vw, vw * sizeof(TYPE));                                     \
            }                                                                                                          \
        }                                                                                                              \
    }

ATTENTION(f32, float)
ATTENTION(bf16, uint16_t)
STORING(f32, float)
STORING(bf16, uint16_t)
