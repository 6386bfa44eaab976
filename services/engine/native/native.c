// All that is computed in C, for float32 and for bfloat16. The structures are those that Python fills in.

#include "lanes.h"

enum {
    PANEL = 2 * LANES,
    CHUNK = 128,       // rows whose sums are kept before they are written
    BLOCK_UNITS = 1024,
    ALIASING = 1024,   // units: rows that are multiples of 4 KiB apart share lines of the first cache,
    ALIASED_ROWS = MAX_ROWS < 8 ? MAX_ROWS : 8,  // which holds this many of them
    NEAR = 128,        // units by which weights are asked for before their use: few rows use them up quickly
    FAR = 1024,
    PAGE = LANES,
    BLOCK_PAGES = 4,
    BLOCK = BLOCK_PAGES * PAGE,
    MAX_WIDTH = 576,
    QUERIES = 56,    // of one head that share what is read of the cache: whole tiles
    TOGETHER = 256,  // queries of all heads of a task
};

enum { NO_GATE, SILU, GELU_TANH, GELU };

typedef struct {
    const void *weights;
    const float *bias;  // in the order of the panels' columns, or NULL
    int64_t units;      // per input row
    int64_t columns;    // of all panels: the outputs, twice that with a gate, filled up to whole panels
    int64_t outputs;
    int64_t gate;
} Linear;

typedef struct {
    int64_t heads, kv_heads, key_width, value_width;
    int64_t window;          // tokens seen, the own one included; 0: all
    float scaling, softcap;  // softcap 0: none
    const float *sinks;      // [heads], or NULL
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

// The tokens of one step and where their keys and values go.
typedef struct {
    int64_t count;
    const int64_t *slots;
    const Row *rows;
    int64_t row_count;
    int64_t threads;
} Step;

INLINE Lanes activated(int64_t gate, Lanes x) {
    if (gate == SILU) return x / (1.0f + exponential(-x));
    if (gate == GELU_TANH) {
        const Lanes inner = (x + x * x * x * 0.044715f) * (2 * 0.7978845608f);
        return x / (1.0f + exponential(-inner));  // (1 + tanh z) / 2 = 1 / (1 + e^-2z)
    }
    for (int i = 0; i < LANES; i++) x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.7071067812f));
    return x;
}

INLINE int64_t rounded_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// KV heads that a task of attention takes at once, of a row with so many queries of each: all `most` of few queries, as pages
// hold them and as far as what is kept of each query stays small; one of many.
INLINE int64_t heads_at_once(int64_t queries, int64_t most) {
    if (queries > MAX_ROWS) return 1;
    return most * queries <= TOGETHER ? most : TOGETHER / queries;
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
#undef KIND
#undef TYPE
#define KIND bf16
#define TYPE uint16_t
#include "product.inc"
#include "linear.inc"
#include "norm.inc"
#include "attention.inc"
#include "decoder.inc"
