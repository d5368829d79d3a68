// The integer half of a program: tensors of codes, gates, and the steps that compute listed sites.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "mquans/codes.h"
#include "mquans/program.h"

namespace mquans {

// Owner of what ActivationArgs points to; the arrays are padded as the scratch of a step is.
struct ActivationSpec {
    ActivationKind kind = ActivationKind::none;
    std::vector<int16_t> low, high, slope, limit, left, right, gain, bound, rounding;
    std::shared_ptr<const SigmoidTable> table;
    int16_t line_slope = 0, line_start = 0, scale = 0, start = 0;
    bool coarser = false, finer = false;
    std::vector<uint8_t> lookup;
    int16_t first = 0;

    // Lays the arrays out for sites of `stride` codes, see FinishArgs.
    void pad(int32_t stride);
    ActivationArgs args() const;
};

// Behind a step: which sites of its output are taken. Without weights all that were computed are.
struct GateSpec {
    std::vector<int16_t> weight;
    int16_t largest = 0;
    int32_t limit = 0;
};

// Which outputs of an axis a changed input reaches.
struct AxisReach {
    // Of every output row: the input rows that it reads.
    std::vector<int32_t> row_begin, row_input;
    // Of every input column: the output columns that read it, ascending.
    std::vector<int32_t> column_begin, column_output;
    bool same = false;  // every output reads the input at its own place
    // 1 or 2 where output column o reads input columns o * stride + first to o * stride + last, those that
    // exist; else 0.
    int32_t stride = 0, first = 0, last = 0;

    void settle(int32_t in_rows, int32_t in_width, int32_t out_rows, int32_t out_width);
    // Marks outputs that read a moved input; false when there are none.
    bool mark(MaskView moved, MaskView marks) const;

private:
    void find_stride(int32_t in_width, int32_t out_width);
    uint64_t reached(const uint64_t* moved, int32_t words, int32_t o, int32_t width) const;
};

// Output sites that read their window through the same taps: all of a convolution; of a transposed one
// those whose distance to the stride's grid is the same.
struct ConvPhase {
    std::vector<int32_t> row_at;  // [rows] elements from the input's data to the row's windows; -1: not here
    std::vector<int32_t> column_at;  // [width] the same for columns; -1: not here
    std::vector<WindowRun> runs;     // see ConvArgs
    std::vector<int16_t> weights;    // of bytes two each
    bool bytes = false;              // they are multiplied as bytes, see ByteArgs
    int16_t least = 0;
    int32_t depth = 0;  // bytes of a window, if it is multiplied as such
    std::vector<int32_t> bias, shift;  // see ConvBlock
    std::vector<ConvBlock> blocks;
    int64_t macs = 0;  // of one site
};

}  // namespace mquans
