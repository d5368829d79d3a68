#include <algorithm>

#include "sites/marks.h"

namespace mquans {

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
    // Every column's outputs are a run, which begins and ends no earlier than the one before, without a gap.
    contiguous = true;
    int32_t first = 0, end = -1;
    for (int32_t i = 0; i < in_width; ++i) {
        const int32_t begin = column_begin[i], count = column_begin[i + 1] - begin;
        if (!count) continue;
        const int32_t x = column_output[begin], after = x + count;
        contiguous = contiguous && column_output[begin + count - 1] == after - 1 && x >= first && after >= end &&
                     (end < 0 || x <= end);
        first = x;
        end = std::max(end, after);
    }
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
        for_each_run(joined.data(), moved.width, [&](int32_t begin, int32_t end) {
            if (!contiguous) {
                for (int32_t k = column_begin[begin]; k < column_begin[end]; ++k)
                    target[column_output[k] >> 6] |= uint64_t(1) << (column_output[k] & 63);
            } else if (column_begin[begin] < column_begin[end]) {
                mark_run(target, column_output[column_begin[begin]], column_output[column_begin[end] - 1] + 1);
            }
        });
    }
    return true;
}

}  // namespace mquans
