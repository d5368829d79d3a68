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
    const int32_t* grid;         // [outputs][taps] input index, or -1 on padding
    const int32_t* whole;        // [outputs] input of the first tap if tap t reads that + t * spacing for
    int32_t spacing;             //   every t, all inside; else -1
    int32_t stride, start;       // stride 1 or 2: tap t of output o reads o * stride + t * spacing + start
};                               //   if that exists; stride 0: no such rule

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
// (row_tap, col_tap) of a group: row_tap * line_rows + col_tap * tap_rows + c. Taps are padded to an even
// number of rows with zeros, so that inputs can be taken in pairs; with `lines` not taps but whole kernel
// lines are: their inputs lie in one piece where pixels have few channels. With `paired`, which only dense
// convolution reads, rows 2 i and 2 i + 1 take turns element by element, in natural order.
struct Weights {
    const void* data;
    int32_t bits;        // 8 or 16
    int32_t row_stride;  // elements
    int32_t tap_rows, line_rows;
    bool lines;
    bool paired = false;  // int16
    // Element where a row begins.
    MQ_INLINE int64_t at(int64_t row) const {
        return paired ? row / 2 * 2 * row_stride + row % 2 : row * row_stride;
    }
};

// Longest kernel line, in inputs, that is packed in one piece.
constexpr int32_t longest_line = 512;

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
    bool list;                 // false: bring held and changes.pixels up to date, list nothing
    ChangeList changes;
    int64_t row_capacity;      // list elements reserved per row
    int32_t row_begin, row_end;
    int64_t* row_changed;      // [rows] number of changed inputs
};

struct DeltaArgs {
    const LayerShape* shape;
    Weights weights;
    const ChangeList* changes;
    MaskView touched;          // output pixels to update
    Accumulators acc;
    int32_t row_begin, row_end;
};

// What a depthwise kernel may write to while it runs: input lines, with their padding, and weights.
struct DepthwiseRoom {
    static constexpr int32_t max_rows = 7;  // of a kernel that needs room
    int32_t left = 0, columns = 0;          // padding before a line, and its length with all padding
    int64_t size = 0;                       // elements, 0: none needed
    MQ_INLINE explicit DepthwiseRoom(const LayerShape& s) {
        if (!s.cols.stride || s.row_taps > max_rows) return;
        const int32_t last = (s.out_width - 1) * s.cols.stride + (s.col_taps - 1) * s.cols.spacing + s.cols.start;
        left = s.cols.start < 0 ? -s.cols.start : 0;
        columns = left + (last < s.in_width ? s.in_width : last + 1);
        constexpr int64_t widest = 64;  // of two vectors of channels in pairs
        size = widest * (int64_t(s.row_taps + 1) * columns + (s.row_taps + 1) / 2 * s.col_taps) + 32;
    }
};

struct DenseArgs {
    const LayerShape* shape;
    Weights weights;
    const int16_t* held;       // [in pixels][C]
    const int16_t* zeros;      // [C + 64] stands in for padding
    MaskView touched;          // output pixels to compute afresh
    Accumulators acc;
    int32_t row_begin, row_end;
    int16_t* room = nullptr;   // depthwise: of DepthwiseRoom::size, or none
};

// Elementwise functions, in the order of graph/operators.py (UnaryKind). Parameters a, b as there.
enum class UnaryKind : int32_t {
    relu, leaky_relu, clip, sigmoid, silu, hard_sigmoid, hard_swish, tanh, elu, selu, gelu, gelu_tanh,
    softplus, mish, exp, log, sqrt, abs, neg, reciprocal, erf, floor, ceil, round, sign, softsign, sin,
    cos,
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
    MaskView touched;
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

// From accumulators straight onto a reader's grid, with no float value in between:
// g = rint(clamp(acc * scale + bias, low, high)), all in grid units. Tables reach C + 32.
struct RequantizeArgs {
    Accumulators acc;
    const float* scale;
    const float* bias;
    float low;
    const float* high;
};

// Grid codes of outputs, for no activation, relu or clip and one group: rint(clamp(y * inverse_delta)).
struct CodesArgs {
    EpilogueArgs from;           // y is not touched
    const float* inverse_delta;  // tables as QuantizeArgs has them
    float limit;
    int16_t* codes;              // [pixels][channels]
};

// Windows over codes: the inputs of output (r, x) are row_inputs[row_begin[r]...] times
// column_inputs[column_begin[x]...].
struct LargestArgs {
    const int16_t* codes;
    int32_t width;             // of the input
    const int32_t *row_begin, *row_inputs, *column_begin, *column_inputs;
};

struct UnaryArgs {
    UnaryKind kind;
    float a, b;
    const float* x;
    float* y;  // may be x
    int64_t n;
};

struct OpLoops;

// All functions of one instruction set. The scalar table is the oracle: plain loops, compiled without
// vectorisation; every other table must give the same bits.
struct KernelTable {
    const char* name;
    // Brings one weight row of `outputs` values, padded to 16, into the order the kernels want.
    void (*permute_row8)(const int8_t* natural, int8_t* packed, int32_t outputs);
    void (*permute_row16)(const int16_t* natural, int16_t* packed, int32_t outputs);
    void (*quantize)(const QuantizeArgs&);
    void (*delta_conv)(const DeltaArgs&);
    void (*dense_conv)(const DenseArgs&);
    // Depthwise (group_in = group_out = 1): weights int16 [taps + 1][row_stride] in natural order, the
    // last row zero; accumulators as of one group.
    void (*depthwise)(const DenseArgs&);
    void (*epilogue)(const EpilogueArgs&);
    // Quantize from accumulators instead of x, whose data is not touched; for one group.
    void (*requantize)(const RequantizeArgs&, const QuantizeArgs&);
    // Epilogue and requantize at once, for no activation, relu or clip.
    void (*finish)(const EpilogueArgs&, const RequantizeArgs&, const QuantizeArgs&);
    void (*codes)(const CodesArgs&);
    // Quantize from the largest code of every window instead of x.
    void (*largest)(const LargestArgs&, const QuantizeArgs&);
    void (*unary)(const UnaryArgs&);
    const OpLoops* ops;
};

const KernelTable& kernels_scalar();
const KernelTable& kernels_avx2();
const KernelTable& kernels_avx512();

}  // namespace mquans
