#include <algorithm>

#include "sites/marks.h"

namespace mquans {
namespace {

// Bits [at, at + 64) of a row of marks; `at` may be negative or beyond the end.
uint64_t bits_from(const uint64_t* row, int32_t words, int32_t at) {
    const int32_t word = at >> 6, shift = at & 63;
    const uint64_t low = word >= 0 && word < words ? row[word] : 0;
    if (!shift) return low;
    const uint64_t high = word + 1 >= 0 && word + 1 < words ? row[word + 1] : 0;
    return low >> shift | high << (64 - shift);
}

// Every second bit, from the lowest on, moved together.
uint64_t even_bits(uint64_t x) {
    x &= 0x5555555555555555u;
    x = (x | x >> 1) & 0x3333333333333333u;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffu;
    x = (x | x >> 8) & 0x0000ffff0000ffffu;
    return (x | x >> 16) & 0x00000000ffffffffu;
}

}  // namespace

void AxisReach::settle(int32_t in_rows, int32_t in_width, int32_t out_rows, int32_t out_width) {
    if (same) {
        require(in_rows == out_rows && in_width == out_width, "sites of input and output differ");
        return;
    }
    require(int32_t(row_begin.size()) == out_rows + 1 && int32_t(column_begin.size()) == in_width + 1 &&
                row_begin.back() == int32_t(row_input.size()) && column_begin.back() == int32_t(column_output.size()),
            "reach: tables do not fit");
    for (int32_t r : row_input) require(r >= 0 && r < in_rows, "reach: no such input row");
    for (int32_t x : column_output) require(x >= 0 && x < out_width, "reach: no such output column");
    find_stride(in_width, out_width);
}

void AxisReach::find_stride(int32_t in_width, int32_t out_width) {
    // What every output reads, from what every input is read by.
    std::vector<int32_t> low(out_width, in_width), high(out_width, -1), count(out_width);
    for (int32_t i = 0; i < in_width; ++i)
        for (int32_t k = column_begin[i]; k < column_begin[i + 1]; ++k) {
            const int32_t o = column_output[k];
            low[o] = std::min(low[o], i);
            high[o] = std::max(high[o], i);
            ++count[o];
        }
    for (int32_t step : {1, 2}) {
        int32_t from = -in_width, to = in_width;
        // Outputs that reach an edge say nothing of what lies beyond it.
        for (int32_t o = 0; o < out_width; ++o) {
            if (low[o] > 0 && low[o] < in_width) from = std::max(from, low[o] - o * step);
            if (high[o] >= 0 && high[o] < in_width - 1) to = std::min(to, high[o] - o * step);
        }
        bool fits = to - from < 16;
        for (int32_t o = 0; o < out_width && fits; ++o) {
            const int32_t begin = std::max(0, o * step + from), end = std::min(in_width - 1, o * step + to);
            fits = begin <= end ? low[o] == begin && high[o] == end && count[o] == end - begin + 1 : !count[o];
        }
        if (!fits) continue;
        stride = step;
        first = from;
        last = to;
        return;
    }
}

// Of outputs [o, o + 64), those that read a marked input.
uint64_t AxisReach::reached(const uint64_t* moved, int32_t words, int32_t o, int32_t width) const {
    uint64_t seen = 0;
    for (int32_t d = first; d <= last; ++d) {
        const int32_t at = o * stride + d;
        seen |= stride == 1 ? bits_from(moved, words, at)
                            : even_bits(bits_from(moved, words, at)) | even_bits(bits_from(moved, words, at + 64)) << 32;
    }
    return width - o < 64 ? seen & ((uint64_t(1) << (width - o)) - 1) : seen;
}

bool AxisReach::mark(MaskView moved, MaskView marks) const {
    if (!moved.any()) {
        marks.clear();
        return false;
    }
    if (same) {
        copy_marks(moved, marks);
        return true;
    }
    thread_local std::vector<uint64_t> joined;
    for (int32_t row = 0; row < marks.rows; ++row) {
        marks.clear_row(row);
        const int32_t begin_row = row_begin[row];
        if (!join_rows(moved, row_input.data() + begin_row, row_begin[row + 1] - begin_row, joined)) continue;
        uint64_t* target = marks.row(row);
        if (stride) {
            for (int32_t o = 0; o < marks.width; o += 64)
                target[o >> 6] = reached(joined.data(), moved.words(), o, marks.width);
            continue;
        }
        for_each_pixel(joined.data(), moved.words(), [&](int32_t x) {
            for (int32_t k = column_begin[x]; k < column_begin[x + 1]; ++k)
                target[column_output[k] >> 6] |= uint64_t(1) << (column_output[k] & 63);
        });
    }
    return true;
}

}  // namespace mquans
