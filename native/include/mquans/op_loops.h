// The inner loops of the float operators that one instruction set provides. Plain data, so that files
// compiled for a newer instruction set than the machine's pull in no shared inline code.
#pragma once

#include <cstdint>

#include "mquans/kernels.h"

namespace mquans {

enum class BinaryKind : int32_t { add, sub, mul, div, max, min, pow, prelu, equal, less, mask };
enum class ReduceKind : int32_t { mean, sum, max, min, prod, l1, l2, sum_square };

// Elements of consecutive pixels of two operands and the result. step: floats between pixels (0 repeats
// one pixel); a scalar operand gives one value for all channels of a pixel.
struct BinaryArgs {
    BinaryKind kind;
    const float *a, *b;
    float* y;
    int64_t a_step, b_step, y_step;
    bool a_scalar, b_scalar;
    int32_t pixels, channels;
};

// y[c] = sum over i, ascending, of weight[i] * x[i][c], fused.
struct WindowArgs {
    const float* const* x;  // [count]
    const float* weight;    // [count]
    int32_t count;
    float* y;
    int32_t channels;
};

// Outputs [first, last) of a row, each over the window of some lines and its own columns.
struct PoolArgs {
    const float* const* lines;  // [line_count] column 0 of the input rows
    int32_t line_count;
    const int32_t* begin;       // [outputs + 1] into columns
    const int32_t* columns;
    int64_t step;               // floats between input columns
    float places;               // an average is over places * column_places[output]
    const float* column_places;
    float* y;                   // of output 0
    int64_t y_step;
    int32_t first, last, channels;
};

// Reduction to a scalar of n contiguous values, and of pixels into per-channel values. Means, l1 and
// sum_square reduce like sum; l2 like sum_square; the caller finishes them.
struct ReduceArgs {
    ReduceKind kind;
    const float* x;
    int64_t step;  // floats between pixels
    int32_t pixels, channels;
    float* y;      // [channels], updated in place
};

// Reduction of every pixel's channels to one value.
struct ReduceRowsArgs {
    ReduceKind kind;
    const float* x;
    int64_t step;  // floats between pixels
    int32_t pixels, channels;
    float* y;      // [pixels]
};

struct SoftmaxArgs {
    static constexpr int32_t many_channels = 16;  // that fill registers
    const float* x;
    float* y;
    int64_t x_step, y_step;
    int32_t count, channels;  // count pixels of the normalised axis when it is not the last
    float* scratch;           // [2 * max(channels, count)]
    bool log;
    bool nan_is_zero;  // not of logarithms
};

struct NormArgs {
    const float* x;
    float* y;
    int64_t x_step, y_step;
    int32_t pixels, channels;    // pixels that are normalised together
    const float *scale, *bias;   // [pixels * channels]
    float epsilon;
};

// Over all pixels, every `group` channels together.
struct PixelNormArgs {
    static constexpr int32_t most_channels = 64;
    const float* x;
    float* y;
    int64_t x_step, y_step;
    int32_t pixels, channels;  // at most `most_channels`
    int32_t group;             // divides channels
    float epsilon;
};

// y[m][n] = sum over k, ascending, of a[m][k] * b[k][n], fused.
struct MatMulArgs {
    const float *a, *b;
    float* y;
    int64_t a_step, b_step, y_step;
    int32_t m, k, n;
};

// Inner loops of one instruction set. All sets give the same bits.
struct OpLoops {
    void (*unary)(const UnaryArgs&);
    void (*binary)(const BinaryArgs&);
    void (*pool_max)(const PoolArgs&);
    void (*pool_average)(const PoolArgs&);
    void (*window_weighted)(const WindowArgs&);
    float (*reduce_values)(ReduceKind kind, const float* x, int64_t n);
    void (*reduce_pixels)(const ReduceArgs&);
    void (*reduce_rows)(const ReduceRowsArgs&);
    void (*softmax_values)(const SoftmaxArgs&);  // over the channels of one pixel
    void (*softmax_pixels)(const SoftmaxArgs&);  // over pixels, channel by channel
    // Over fewer than many_channels of every pixel, to the same bits however many pixels there are; without scratch.
    void (*softmax_few)(const SoftmaxArgs&);
    void (*layer_norm)(const NormArgs&);
    void (*norm_pixels)(const PixelNormArgs&);
    void (*matmul)(const MatMulArgs&);
};

const OpLoops& op_loops_scalar();
const OpLoops& op_loops_avx2();
const OpLoops& op_loops_avx2_vnni();
const OpLoops& op_loops_avx512();

}  // namespace mquans
