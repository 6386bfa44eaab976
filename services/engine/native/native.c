// The kernels for the CPU, for float32 and for bfloat16. Each .inc file is included once per type: KIND is the suffix of its
// functions, TYPE the type of a number. Python fills in the structs by ctypes.

#include "lanes.h"
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    PANEL = 2 * LINE,
    TILE = MAX_ROWS < 11 ? MAX_ROWS : 11,  // rows of a linear layer's tile: measured to be faster than MAX_ROWS
    CHUNK = 88,        // rows whose sums are kept before they are written
    BLOCK_UNITS = 1024,
    ALIASING = 1024,   // units: rows a multiple of 4 KiB apart map to the same set of the L1 cache,
    ALIASED_ROWS = MAX_ROWS < 8 ? MAX_ROWS : 8,  // which holds this many of them
    FEW = 4,     // with up to so many rows memory is the limit, and the hardware prefetches what is read in order
    NEAR = 128,  // units by which weights are prefetched: with up to FEW rows,
    FAR = 4096,  // and with more rows in one tile
    PAGE = LINE,
    BLOCK_PAGES = 4,
    BLOCK = BLOCK_PAGES * PAGE,
    AHEAD = 2,  // pages by which attention prefetches
    MAX_WIDTH = 576,
    QUERIES = 56,    // most queries of a head in a task, which share reads of the KV cache
    TOGETHER = 256,  // most queries of a task over all of its heads
};

enum { PROJECTIONS, OUTPUT, GATED, DOWN, PRODUCTS };  // the linear layers of a decoder layer, in order

enum { NO_GATE, SILU, GELU_TANH, GELU, QUICK_GELU, RELU };

typedef struct {
    const void *weights;
    const float *bias;  // in the order of the packed columns, or NULL
    int64_t units;      // per input row
    int64_t columns;    // packed columns: the outputs, twice as many with a gate, rounded up to whole panels
    int64_t outputs;
    int64_t gate;
    int64_t activation;  // of all outputs, only without a gate
} Linear;

typedef struct {
    int64_t heads, kv_heads, key_width, value_width;
    int64_t window;          // sliding window in tokens, including the query's own; 0: none
    float scaling, softcap;  // softcap 0: none
    const float *sinks;      // [heads], or NULL
    const float *bias;       // [heads][bias_tokens][bias_width]: added to the scores of a step's tokens; or NULL
    int64_t bias_tokens, bias_width;
} Layer;

typedef struct {
    const int64_t *pages;  // the sequence's page numbers, in order
    int64_t start;         // index of its first new token in the packed batch
    int64_t length;        // new tokens
    int64_t context;       // all tokens, including the new ones
} Row;

typedef struct {
    int64_t rotated;                     // the first numbers of a head, in pairs rotated / 2 apart
    const float *query_norm, *key_norm;  // [key_width], or NULL
    float epsilon;
} Rotation;

// An adapter's low-rank update of a product: it adds second(first(x)). Layers that share the product have separate ranks among
// the outputs of `first`. All are NULL if the adapter does not change this product.
typedef struct {
    const Linear *first, *second;  // the columns of `second` are packed as the product's
    const int64_t *begins;         // for each line of `second`, the first unit of the outputs of `first` that it reads
} LowRank;

// A decoder layer: h = x + attention(norm(x)), y = h + mlp(norm(h)). Some families also norm the results of attention and mlp.
typedef struct {
    const float *input_norm, *attended_norm, *mlp_norm, *output_norm;  // [hidden]; the second and fourth may be NULL
    float epsilon;
    const Linear *projections, *output, *gated, *down;
    const Rotation *rotation;
    const Layer *attention;
    int64_t hidden;
    const LowRank *low_ranks;  // [adapters][PRODUCTS], or NULL
    int64_t ranks;             // the greatest number of outputs of any `first`
} Decoder;

// A whole decoder. All layers use the same rotary angles.
typedef struct {
    const void *embeddings;  // [vocabulary][hidden]
    const Decoder *const *layers;
    void *const *keys, *const *values;  // the KV cache of each layer
    int64_t count;                      // number of layers
    const float *norm;                  // [hidden]
    float epsilon;
    const Linear *head;
    int64_t hidden, rotated;
    int64_t room;  // numbers of a layer's intermediate results for each token: the greatest `decoder_workspace`
} Whole;

// One sequence's part of a step.
typedef struct {
    int64_t pages, length, context;  // number of its pages, new tokens, and all tokens
} Span;

typedef struct {
    const float *scales, *shifts;  // [hidden]
    float epsilon;
} Norm;

// An encoder layer. With `norm_first` h = x + attention(first(x)), y = h + mlp(second(h)); else h = first(x + attention(x)),
// y = second(h + mlp(h)).
typedef struct {
    const Linear *query, *key, *value, *output, *up, *down;
    Norm first, second;
    float scaling;
    int64_t hidden, heads, width, norm_first;
} Encoder;

// Consecutive tokens of a step that use the same adapter.
typedef struct {
    int64_t adapter, start, length;
} Run;

// An adapter's update of rows [start, start + length) of a product.
typedef struct {
    const LowRank *factors;
    int64_t start, length;
    const void *shrunk;  // outputs of `first`, rows `stride` units apart, indexed by the product's row
    int64_t stride;
} Addition;

// The new tokens of one step, and the slots of the KV cache for their keys and values.
typedef struct {
    int64_t count;
    const int64_t *slots;
    const Row *rows;
    int64_t row_count;
    int64_t threads;
    const Run *runs;  // in order; tokens in no run have no adapter
    int64_t run_count;
} Step;

// The complementary error function for x >= 0, with an error below 1.5e-7 (Abramowitz and Stegun 7.1.26).
INLINE Lanes erfc_positive(Lanes x) {
    const Lanes t = 1.0f / (1.0f + x * 0.3275911f);
    Lanes y = t * 1.061405429f - 1.453152027f;
    y = y * t + 1.421413741f;
    y = y * t - 0.284496736f;
    y = y * t + 0.254829592f;
    return y * t * exponential(-x * x);
}

INLINE Lanes activated(int64_t activation, Lanes x) {
    if (activation == SILU) return x / (1.0f + exponential(-x));
    if (activation == GELU_TANH) {
        const Lanes inner = (x + x * x * x * 0.044715f) * (2 * 0.7978845608f);
        return x / (1.0f + exponential(-inner));  // (1 + tanh z) / 2 = 1 / (1 + e^-2z)
    }
    if (activation == QUICK_GELU) return x / (1.0f + exponential(x * -1.702f));
    if (activation == RELU) return maximum(splat(0.0f), x);
    const Lanes size = maximum(x, -x), half = erfc_positive(size * 0.7071067812f) * 0.5f * size;
    return maximum(x, splat(0.0f)) - half;  // GELU(x) = max(x, 0) - |x| * erfc(|x| / sqrt(2)) / 2
}

INLINE int64_t rounded_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

INLINE char *taken(char **at, int64_t bytes) {
    char *from = *at;
    *at += rounded_up(bytes, 64);
    return from;
}

INLINE int64_t thread_number(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

// Returns how many KV heads a task of attention takes, for a row with so many queries per head. Few queries: up to `most`, as
// the heads of a page are adjacent in memory, but at most TOGETHER queries in all. Many queries: one.
INLINE int64_t heads_at_once(int64_t queries, int64_t most) {
    if (queries > MAX_ROWS) return 1;
    return most * queries <= TOGETHER ? most : TOGETHER / queries;
}

// Returns the first token that a query at `position` sees, rounded down to a whole block.
INLINE int64_t first_seen(const Layer *layer, int64_t position) {
    const int64_t first = layer->window > 0 ? position + 1 - layer->window : 0;
    return first > 0 ? first / BLOCK * BLOCK : 0;
}

// Converts a step's runs to indices among the `kept` tokens, whose indices ascend.
static void keep_runs(const Step *step, const int64_t *kept, int64_t kept_count, Run *runs) {
    for (int64_t r = 0, i = 0; r < step->run_count; r++) {
        const int64_t end = step->runs[r].start + step->runs[r].length;
        while (i < kept_count && kept[i] < step->runs[r].start) i++;
        const int64_t start = i;
        while (i < kept_count && kept[i] < end) i++;
        runs[r] = (Run){step->runs[r].adapter, start, i - start};
    }
}

// Stride of an intermediate result's rows: whole lines, plus one pair so that rows do not map to the same set of the L1 cache.
INLINE int64_t spread(int64_t width) { return rounded_up(width, 2 * LINE) + 2 * LINE; }

// Returns how many numbers of intermediate results a layer needs for each token of a step.
int64_t decoder_workspace(const Decoder *decoder) {
    return spread(decoder->hidden) + spread(decoder->projections->outputs) + spread(decoder->gated->outputs) +
           spread(decoder->attention->heads * decoder->attention->value_width) +
           (decoder->ranks ? spread(decoder->ranks) : 0);
}

// Whether these linear layers are faster than oneDNN's, which use AMX where it exists.
#ifdef __AVX2__
const int64_t linear_pays_f32 = 1;
#else
const int64_t linear_pays_f32 = 0;
#endif
#if (defined(__AVX512BF16__) && !defined(__AMX_BF16__)) || (defined(__AVX2__) && !defined(__AVX512F__))
const int64_t linear_pays_bf16 = 1;
#else
const int64_t linear_pays_bf16 = 0;
#endif

#define KIND f32
#define TYPE float
#include "product.inc"
#include "linear.inc"
#include "norm.inc"
#include "attention.inc"
#include "adapters.inc"
#include "decoder.inc"
#include "whole.inc"
#include "encoder.inc"
#undef KIND
#undef TYPE
#define KIND bf16
#define TYPE uint16_t
#include "product.inc"
#include "linear.inc"
#include "norm.inc"
#include "attention.inc"
#include "adapters.inc"
#include "decoder.inc"
#include "whole.inc"
#include "encoder.inc"
