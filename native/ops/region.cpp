#include "ops/region.h"

namespace mquans {

int32_t AxisLists::most() const {
    int32_t result = 0;
    for (int32_t i = 0; i < outputs(); ++i) result = std::max(result, count(i));
    return result;
}

AxisLists identity_lists(int32_t size) {
    AxisLists lists;
    for (int32_t i = 0; i < size; ++i) {
        lists.add(i, 1.0f);
        lists.close();
    }
    return lists;
}

AxisLists cross(const AxisLists& outer, const AxisLists& inner, int32_t inner_size) {
    AxisLists lists;
    for (int32_t o = 0; o < outer.outputs(); ++o)
        for (int32_t i = 0; i < inner.outputs(); ++i) {
            for (int32_t a = outer.begin[o]; a < outer.begin[o + 1]; ++a)
                for (int32_t b = inner.begin[i]; b < inner.begin[i + 1]; ++b)
                    lists.add(outer.input[a] * inner_size + inner.input[b],
                              outer.weight[a] * inner.weight[b]);
            lists.close();
        }
    return lists;
}

void map_windows(const AxisLists& rows, const AxisLists& columns, MaskView moved, MaskView marks) {
    thread_local std::vector<uint64_t> joined;
    for (int32_t row = 0; row < marks.rows; ++row) {
        marks.clear_row(row);
        if (!join_rows(moved, rows.input.data() + rows.begin[row], rows.count(row), joined)) continue;
        for (int32_t x = 0; x < marks.width; ++x) {
            uint64_t hit = 0;
            for (int32_t k = columns.begin[x]; k < columns.begin[x + 1]; ++k) {
                const int32_t column = columns.input[k];
                hit |= joined[column >> 6] >> (column & 63);
            }
            if (hit & 1) marks.set(row, x);
        }
    }
}

}  // namespace mquans
