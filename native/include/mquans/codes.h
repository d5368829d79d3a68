// Tensors of int16 codes, and what the kernels over listed sites are given. A code stands for
// code * 2**exponent[channel]; a site is one position of a tensor with all its channels.
#pragma once

#include <cstdint>
#include <vector>

#include "mquans/mask.h"

namespace mquans {

using CodesId = int32_t;

// Around the sites lies a border of zeros, so that windows may reach beyond the edge.
struct CodesView {
    int16_t* data = nullptr;
    const int64_t* row_at = nullptr;  // [rows] elements from data to site (row, 0)
    int32_t rows = 0, width = 0;
    int32_t channels = 0;
    int32_t stride = 0;  // elements between sites

    MQ_INLINE int16_t* site(int32_t row, int32_t x) const { return data + row_at[row] + int64_t(x) * stride; }
};

// A function of codes that follows a sum; codes of sixteen bits in, codes of sixteen bits out.
//   none   y = u
//   slope  y = u < 0 ? u * a : u
//   gate   y = u * S(t)      SiLU, GELU, hard swish
//   curve  y = S(t) * m + k  sigmoid, tanh, hard sigmoid
// t is u brought to the exponent that S is tabulated for: clamped to +-limit, times left, times right / 2**15.
// S(t), in 1/2**15, is a table of quadratics over |t|, of which S(-t) = 1 - S(t); or a line, clamped to 0..1.
enum class ActivationKind : int32_t { none, slope, gate, curve };

// S(|t|) = c + f * (b + f * a) with segment i = |t| >> 10 and f = the rest in 1/2**15; the products round.
struct SigmoidTable {
    int16_t a[32], b[32], c[32];  // a and b are zero from 16 on
};

// Per channel arrays are padded with zeros to whole vectors; low = high = 0 keeps padding at zero.
struct ActivationArgs {
    ActivationKind kind = ActivationKind::none;
    const int16_t *low = nullptr, *high = nullptr;  // the result is clamped to these
    const int16_t* slope = nullptr;                 // a in 1/2**15
    const int16_t *limit = nullptr, *left = nullptr, *right = nullptr;
    const SigmoidTable* table = nullptr;  // null: the line
    int16_t line_slope = 0, line_start = 0;  // of t, and at t = 0, in 1/2**15
    int16_t scale = 0, start = 0;            // m in 1/2**15, and k
};

// Sixteen or more outputs at once, one group of inputs: packed weights.
struct ConvBlock {
    const int16_t* weights;  // [taps][pairs][outputs in kernel order][2]
    const int32_t *bias, *shift;  // in kernel order; bias holds the rounding too
    int32_t x_first;  // first input channel
    int32_t y_first;  // first output channel
    int32_t outputs;  // of this block as packed
};

// y[i] = activation(saturate16((bias + sum over taps and channels of weight * x) >> shift)) for listed sites.
struct ConvArgs {
    const int16_t* x;
    const int32_t* at;   // [sites] elements from x to the window's first value
    int32_t sites;
    const int32_t* tap;  // [taps] elements from there
    int32_t taps, pairs;
    const ConvBlock* blocks;
    int32_t block_count;
    ActivationArgs activation;
    int16_t* y;          // [sites][y_stride]
    int32_t y_stride;    // a multiple of conv_outputs
};

// Depthwise: y[i][c] = activation(bias[c] + sum over taps of weight[tap][c] * x[tap][c]), one of two ways.
// narrow: rounding sixteen-bit products, in two saturating sums of even and odd taps, the bias in the first.
// wide: int32 sums, then a shift.
struct DepthwiseArgs {
    const int16_t* x;             // every tap readable to whole vectors
    const int32_t* at;
    int32_t sites;
    const int32_t* tap;
    int32_t taps;
    const int16_t* weights;       // [taps][y_stride]; wide: one more row of zeros after an odd number
    const int16_t* narrow_bias;   // [y_stride]; null: wide
    const int32_t *bias, *shift;  // [y_stride] wide, in kernel order of full blocks; bias holds the rounding too
    int32_t channels;
    ActivationArgs activation;
    int16_t* y;
    int32_t y_stride;
};

// Which sites' new codes replace the held ones: those where the sum over channels of
// clamp(weight * (new - held) / 2**15)**2 is beyond the limit.
struct GateArgs {
    const int16_t* fresh;     // [sites][fresh_stride]; readable to whole vectors
    int32_t fresh_stride;
    int16_t* held;            // the same
    const int64_t* held_at;   // [sites] elements from held
    int32_t sites, channels;
    const int16_t* weight;    // padded with zeros; null: every site is taken
    int16_t largest;          // products are clamped to it, so that their squares cannot overflow
    int32_t limit;
    uint8_t* taken;           // [sites] 0 or 1
};

// Pixels of a graph input that come as planes, through their gate. Codes are held twice: as planes, to be
// compared with, and as sites, to be read.
struct InputRowArgs {
    const float* x[4];
    int32_t width, channels;  // at most 4
    const float* inverse;     // [channels] codes per unit
    int16_t code_limit;
    int16_t* plane[4];        // readable and writable to whole vectors
    int16_t* site;            // [width][stride], the same
    int32_t stride;           // 2 or 4
    const int16_t* weight;    // [channels]; null: every pixel is taken
    int16_t largest;
    int32_t limit;
    uint64_t* taken;          // one bit per pixel
};

// What one instruction set provides for codes.
struct SiteKernels {
    int32_t conv_outputs;  // outputs of a full block
    int32_t conv_half;     // outputs of a last, smaller block; equal where there is none
    // Position of a block's output in kernel order -> its natural position.
    int32_t (*order)(int32_t position, int32_t outputs);
    void (*conv)(const ConvArgs&);
    void (*depthwise)(const DepthwiseArgs&);
    void (*gate)(const GateArgs&);
    // n codes, n a multiple of 32 or padded to it: y = activation(x), channel c first.
    void (*activate)(const ActivationArgs&, const int16_t* x, int16_t* y, int32_t channels);
    void (*input_row)(const InputRowArgs&);
    // Rounded to nearest even, clamped to +-limit.
    void (*encode)(const float* x, const float* inverse, int16_t limit, int16_t* y, int32_t channels);
    void (*decode)(const int16_t* x, const float* unit, float* y, int32_t channels);
};

const SiteKernels& site_kernels_scalar();
const SiteKernels& site_kernels_avx2();
const SiteKernels& site_kernels_avx512();

}  // namespace mquans
