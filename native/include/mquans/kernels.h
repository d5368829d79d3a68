// The table of kernels that one instruction set provides. Everything here is plain data: kernels own
// no memory and no threads; a call works on the rows [row_begin, row_end) it is given.
//
// C = input channels, O = output channels, g = group, P = pixels (row-major).
#pragma once

#include <cstdint>

#include "mquans/mask.h"
#include "mquans/tensor.h"

namespace mquans {

// One tap of a convolution along one axis: index into the kernel, index into the input.
struct Tap {
    int32_t tap;
    int32_t input;
};

// For every output index along an axis the taps that fall inside the input, and the reverse: for
// every input index the outputs it reaches. Covers stride, padding, dilation, transposition, batches.
struct AxisTaps {
    const int32_t* begin;        // [outputs + 1] into taps
    const Tap* taps;             // ascending kernel index per output
    const int32_t* reach_begin;  // [inputs + 1] into reach
    const int32_t* reach;        // output indices
};

// Shape of a reuse layer. A linear layer is a 1x1 convolution over its rows.
struct LayerShape {
    int32_t in_rows, in_width, in_channels;
    int32_t out_rows, out_width, out_channels;
    int32_t groups;
    int32_t row_taps, col_taps;  // kernel extent: flattened outer axes, innermost axis
    AxisTaps rows, cols;
    MQ_INLINE int32_t group_in() const { return in_channels / groups; }
    MQ_INLINE int32_t group_out() const { return out_channels / groups; }
};

// Packed integer weights: one row of group_out outputs, padded to 16, for each input that an output of
// the group sees, permuted inside as the instruction set's kernels want them. Row of input c of tap
// (row_tap, col_tap) of group g: ((g * row_taps + row_tap) * col_taps + col_tap) * group_in + c.
struct Weights {
    const void* data;
    int32_t bits;  // 8 or 16
    int32_t row_stride;
};

// Accumulators [out pixel][group][group_stride] in natural order; group_stride = group_out padded to 16.
struct Accumulators {
    int32_t* data;
    int32_t pixel_stride;
    int32_t group_stride;
};

// Changed inputs of one frame. Segment s = pixel * groups + g holds count[s] changes, stored from
// begin[s] on as two arrays and padded to an even number with a zero delta.
struct ChangeList {
    uint32_t* begin;    // [P * groups]
    uint16_t* count;    // [P * groups], without padding
    uint16_t* channel;  // inside the group
    int16_t* delta;
    MaskView pixels;    // pixels with any change
};

struct QuantizeArgs {
    TensorView x;
    MaskView dirty;            // pixels of x that may have moved
    int16_t* held;             // [P][C]
    // The tables repeat every C values and reach C + 32 further.
    const float* inverse_delta;  // grid units per unit of x
    float limit;               // grid values are clipped to [-limit, limit]
    const int16_t* offset;     // the rule: q = (g + offset) & mask,
    const int16_t* mask;       //   changed when |q - held| > threshold
    const int16_t* threshold;
    bool hold;                 // offset and mask change nothing
    int32_t groups;
    ChangeList changes;
    int64_t row_capacity;      // list elements reserved per row
    int32_t row_begin, row_end;
    int64_t* row_changed;      // [rows] number of changed inputs
};

struct DeltaArgs {
    const LayerShape* shape;
    Weights weights;
    const ChangeList* changes;
    MaskView active;          // output pixels to update
    Accumulators acc;
    int32_t row_begin, row_end;
};

// Accumulators of a layer of one tap and group from held values alone: acc = held @ weights. Rows of
// accumulators lie as far apart as those of weights.
struct SumArgs {
    const int16_t* held;  // [rows][inputs]
    int32_t rows, inputs;
    Weights weights;
    int32_t* acc;
    int32_t output_begin, output_end;  // multiples of 32, or behind the last output
};

// Elementwise functions, in the order of graph/operators.py (UnaryKind). Parameters a, b as there.
enum class UnaryKind : int32_t {
    relu, leaky_relu, clip, sigmoid, silu, hard_sigmoid, hard_swish, tanh, elu, selu, gelu, gelu_tanh,
    softplus, mish, exp, log, sqrt, abs, neg, reciprocal, erf, floor, ceil, round, sign, softsign, sin,
    cos, quantize,
};

struct EpilogueArgs {
    Accumulators acc;
    int32_t groups;
    int32_t group_out;
    const float* scale;        // [group][group_stride]
    const float* bias;
    bool activated;
    UnaryKind activation;
    float a, b;                // its parameters
    MaskView active;
    TensorView y;
    int32_t row_begin, row_end;
};

// What an activation that is a clamp does: none, relu, clip.
struct Clamp {
    float low = -__builtin_inff(), high = __builtin_inff();
    MQ_INLINE explicit Clamp(const EpilogueArgs& e) {
        if (!e.activated) return;
        const bool clip = e.activation == UnaryKind::clip;
        low = clip ? e.a : 0.0f;
        if (clip) high = e.b;
    }
};

struct UnaryArgs {
    UnaryKind kind;
    float a, b;
    const float* x;
    float* y;  // may be x
    int64_t n;
};

struct OpLoops;

// All functions of one instruction set. The scalar table is the reference: plain loops, compiled without
// vectorisation; every other table must give the same bits.
struct KernelTable {
    const char* name;
    // Brings one weight row of `outputs` values, padded to 16, into the order the kernels want.
    void (*permute_row8)(const int8_t* natural, int8_t* packed, int32_t outputs);
    void (*permute_row16)(const int16_t* natural, int16_t* packed, int32_t outputs);
    void (*quantize)(const QuantizeArgs&);
    void (*delta_conv)(const DeltaArgs&);
    void (*held_sums)(const SumArgs&);
    void (*epilogue)(const EpilogueArgs&);
    void (*unary)(const UnaryArgs&);
    const OpLoops* ops;
};

const KernelTable& kernels_scalar();
const KernelTable& kernels_avx2();
const KernelTable& kernels_avx2_vnni();
const KernelTable& kernels_avx512();

}  // namespace mquans
