// Which input pixels every output pixel of a windowed step reads. Windows are boxes: a set of input
// rows per output row times a set of input columns per output column.
#pragma once

#include "ops/common.h"

namespace mquans {

// Lists of input indices with a weight each, one list per output index.
struct AxisLists {
    std::vector<int32_t> begin{0};
    std::vector<int32_t> input;
    std::vector<float> weight;

    int32_t outputs() const { return int32_t(begin.size()) - 1; }
    int32_t count(int32_t i) const { return begin[i + 1] - begin[i]; }
    int32_t most() const;
    void add(int32_t index, float w) {
        input.push_back(index);
        weight.push_back(w);
    }
    void close() { begin.push_back(int32_t(input.size())); }
};

AxisLists identity_lists(int32_t size);

// Lists over two axes flattened into one, row-major: indices combine, weights multiply.
AxisLists cross(const AxisLists& outer, const AxisLists& inner, int32_t inner_size);

// Marks the output pixels whose window holds a marked input pixel.
void map_windows(const AxisLists& rows, const AxisLists& columns, MaskView moved, MaskView marks);

}  // namespace mquans
