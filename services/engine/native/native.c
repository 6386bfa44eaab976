// All that is computed in C, for float32 and for bfloat16. The structures are those that Python fills in.

#include "lanes.h"
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    PANEL = 2 * LINE,
    TILE = MAX_ROWS < 11 ? MAX_ROWS : 11,  // rows of a layer's product: faster than the most
    CHUNK = 88,        // rows whose sums are kept before they are written: whole tiles
    BLOCK_UNITS = 1024,
    ALIASING = 1024,   // units: rows that are multiples of 4 KiB apart share lines of the first cache,
    ALIASED_ROWS = MAX_ROWS < 8 ? MAX_ROWS : 8,  // which holds this many of them
    FEW = 4,     // rows that take less time than memory does: what is read in order comes by itself
    NEAR = 128,  // units by which weights are asked for before their use, of one tile with few rows or more
    FAR = 4096,
    PAGE = LINE,
    BLOCK_PAGES = 4,
    BLOCK = BLOCK_PAGES * PAGE,
    AHEAD = 2,  // pages by which attention asks for those to come
    MAX_WIDTH = 576,
    QUERIES = 56,    // of one head that share what is read of the cache: whole tiles
    TOGETHER = 256,  // queries of all heads of a task
};

enum { PROJECTIONS, OUTPUT, GATED, DOWN, PRODUCTS };  // of a decoder layer, in their order

enum { NO_GATE, SILU, GELU_TANH, GELU, QUICK_GELU, RELU };

typedef struct {
    const void *weights;
    const float *bias;  // in the order of the panels' columns, or NULL
    int64_t units;      // per input row
    int64_t columns;    // of all panels: the outputs, twice that with a gate, filled up to whole panels
    int64_t outputs;
    int64_t gate;
    int64_t activation;  // of all outputs, where there is no gate
} Linear;

typedef struct {
    int64_t heads, kv_heads, key_width, value_width;
    int64_t window;          // tokens seen, the own one included; 0: all
    float scaling, softcap;  // softcap 0: none
    const float *sinks;      // [heads], or NULL
    const float *bias;       // [heads][bias_tokens][bias_width], of the step's tokens with those they see; or NULL
    int64_t bias_tokens, bias_width;
} Layer;

typedef struct {
    const int64_t *pages;  // page numbers of the sequence, in order
    int64_t start;         // place of its first new token in the packed batch
    int64_t length;        // new tokens
    int64_t context;       // tokens in all, the new ones included
} Row;

typedef struct {
    int64_t rotated;                     // numbers of a head that take part: pairs half of it apart
    const float *query_norm, *key_norm;  // [key_width], or NULL
    float epsilon;
} Rotation;

// What an adapter adds to a product: `second` of what `first` computes of the same rows. Layers that share the product have
// each their own ranks among those of `first`. All are NULL where it adds nothing.
typedef struct {
    const Linear *first, *second;  // columns of `second` lie as those of the product do
    const int64_t *begins;         // for each line of `second`, the first unit that its layer reads
} LowRank;

// A decoder layer: h = x + attention(norm(x)), y = h + mlp(norm(h)); some families norm both before they add them, too.
typedef struct {
    const float *input_norm, *attended_norm, *mlp_norm, *output_norm;  // [hidden]; the second and fourth may be NULL
    float epsilon;
    const Linear *projections, *output, *gated, *down;
    const Rotation *rotation;
    const Layer *attention;
    int64_t hidden;
    const LowRank *low_ranks;  // [adapters][PRODUCTS], or NULL
    int64_t ranks;             // the most outputs of a `first`
} Decoder;

// A whole decoder, all of whose layers rotate alike.
typedef struct {
    const void *embeddings;  // [vocabulary][hidden]
    const Decoder *const *layers;
    void *const *keys, *const *values;  // of each layer
    int64_t count;                      // of layers
    const float *norm;                  // [hidden]
    float epsilon;
    const Linear *head;
    int64_t hidden, rotated;
    int64_t room;  // for the intermediate results of a layer: the most that `decoder_workspace` says
} Whole;

// One sequence's part of a step.
typedef struct {
    int64_t pages, length, context;  // how many pages it has, new tokens, and tokens in all
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

// Tokens of a step, one behind the other, that are computed with one adapter.
typedef struct {
    int64_t adapter, start, length;
} Run;

// What an adapter adds to `length` rows of a product, from `start` on.
typedef struct {
    const LowRank *factors;
    int64_t start, length;
    const void *shrunk;  // what `first` computes of all rows of the product, `stride` units apart
    int64_t stride;
} Addition;

// The tokens of one step and where their keys and values go.
typedef struct {
    int64_t count;
    const int64_t *slots;
    const Row *rows;
    int64_t row_count;
    int64_t threads;
    const Run *runs;  // in order; tokens of none have no adapter
    int64_t run_count;
} Step;

// The complement of the error function for x >= 0, to within 1.5e-7 (Abramowitz and Stegun 7.1.26).
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
    return maximum(x, splat(0.0f)) - half;  // x for x > 0, nothing else, less size * erfc(size / sqrt(2)) / 2
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

// KV heads that a task of attention takes at once, of a row with so many queries of each: all `most` of few queries, as pages
// hold them and as far as what is kept of each query stays small; one of many.
INLINE int64_t heads_at_once(int64_t queries, int64_t most) {
    if (queries > MAX_ROWS) return 1;
    return most * queries <= TOGETHER ? most : TOGETHER / queries;
}

// The first token of which a query at `position` sees anything, a whole block's.
INLINE int64_t first_seen(const Layer *layer, int64_t position) {
    const int64_t first = layer->window > 0 ? position + 1 - layer->window : 0;
    return first > 0 ? first / BLOCK * BLOCK : 0;
}

// Where a step's runs lie among the tokens `kept` of it, which ascend, side by side.
static void keep_runs(const Step *step, const int64_t *kept, int64_t kept_count, Run *runs) {
    for (int64_t r = 0, i = 0; r < step->run_count; r++) {
        const int64_t end = step->runs[r].start + step->runs[r].length;
        while (i < kept_count && kept[i] < step->runs[r].start) i++;
        const int64_t start = i;
        while (i < kept_count && kept[i] < end) i++;
        runs[r] = (Run){step->runs[r].adapter, start, i - start};
    }
}

// Numbers from row to row of an intermediate result: rows begin at whole lines that do not share lines of the first cache.
INLINE int64_t spread(int64_t width) { return rounded_up(width, 2 * LINE) + 2 * LINE; }

// Numbers of intermediate results for each token of a step.
int64_t decoder_workspace(const Decoder *decoder) {
    return spread(decoder->hidden) + spread(decoder->projections->outputs) + spread(decoder->gated->outputs) +
           spread(decoder->attention->heads * decoder->attention->value_width) +
           (decoder->ranks ? spread(decoder->ranks) : 0);
}

// Whether linear layers are faster here than those of oneDNN, which alone uses the tiles of AMX.
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
