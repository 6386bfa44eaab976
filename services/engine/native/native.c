// All that is computed in C, for float32 and for bfloat16. The structures are those that Python fills in.

#include "lanes.h"
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    PANEL = 2 * LANES,
    TILE = MAX_ROWS < 11 ? MAX_ROWS : 11,  // rows of a layer's product: faster than the most
    CHUNK = 88,        // rows whose sums are kept before they are written: whole tiles
    BLOCK_UNITS = 1024,
    ALIASING = 1024,   // units: rows that are multiples of 4 KiB apart share lines of the first cache,
    ALIASED_ROWS = MAX_ROWS < 8 ? MAX_ROWS : 8,  // which holds this many of them
    FEW = 4,     // rows that take less time than memory does: what is read in order comes by itself
    NEAR = 128,  // units by which weights are asked for before their use, of one tile with few rows or more
    FAR = 4096,
    PAGE = LANES,
    BLOCK_PAGES = 4,
    BLOCK = BLOCK_PAGES * PAGE,
    AHEAD = 2,  // pages by which attention asks for those to come
    MAX_WIDTH = 576,
    QUERIES = 56,    // of one head that share what is read of the cache: whole tiles
    TOGETHER = 256,  // queries of all heads of a task
};

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

// A decoder layer: h = x + attention(norm(x)), y = h + mlp(norm(h)); some families norm both before they add them, too.
typedef struct {
    const float *input_norm, *attended_norm, *mlp_norm, *output_norm;  // [hidden]; the second and fourth may be NULL
    float epsilon;
    const Linear *projections, *output, *gated, *down;
    const Rotation *rotation;
    const Layer *attention;
    int64_t hidden;
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

// The tokens of one step and where their keys and values go.
typedef struct {
    int64_t count;
    const int64_t *slots;
    const Row *rows;
    int64_t row_count;
    int64_t threads;
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

// Numbers from row to row of an intermediate result: rows begin at whole lines that do not share lines of the first cache.
INLINE int64_t spread(int64_t width) { return rounded_up(width, 2 * LANES) + 2 * LANES; }

// Numbers of intermediate results for each token of a step.
int64_t decoder_workspace(const Decoder *decoder) {
    return spread(decoder->hidden) + spread(decoder->projections->outputs) + spread(decoder->gated->outputs) +
           spread(decoder->attention->heads * decoder->attention->value_width);
}

// Whether linear layers are faster here than those of oneDNN, which alone uses the tiles of AMX.
#ifdef __AVX512F__
const int64_t linear_pays_f32 = 1;
#else
const int64_t linear_pays_f32 = 0;
#endif
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
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
#include "decoder.inc"
#include "whole.inc"
#include "encoder.inc"
