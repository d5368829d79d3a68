// Max and average pooling over one to three axes of [N, space..., C].
#include <utility>

#include "mquans/stream.h"
#include "ops/region.h"

namespace mquans {
namespace {

// Input indices under the kernel for every output index along one axis, and how many of the window's
// places an average counts.
struct AxisWindows {
    AxisLists lists;
    std::vector<float> places;  // [outputs]
};

AxisWindows windows(int32_t size, int32_t outputs, const PoolGeometry& g, size_t axis) {
    AxisWindows result;
    for (int32_t i = 0; i < outputs; ++i) {
        int32_t places = 0, inside = 0;
        for (int32_t k = 0; k < g.kernel[axis]; ++k) {
            const int32_t at = i * g.strides[axis] - g.pads_begin[axis] + k * g.dilations[axis];
            places += at < size + g.pads_end[axis];
            if (at < 0 || at >= size) continue;
            ++inside;
            result.lists.add(at, 1.0f);
        }
        result.lists.close();
        result.places.push_back(float(g.count_include_pad ? places : inside));
    }
    return result;
}

class PoolStep final : public Step {
public:
    PoolStep(PoolKind kind, TensorId x, TensorId y, AxisWindows rows, AxisWindows columns)
        : kind_(kind), x_(x), y_(y), rows_(std::move(rows)), columns_(std::move(columns)) {
        most_ = rows_.lists.most() * columns_.lists.most();
    }

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else if (moved.any()) {
            map_windows(rows_.lists, columns_.lists, moved, marks);
        } else {
            return marks.clear();
        }
        const auto loop =
            kind_ == PoolKind::max ? context.kernels.ops->pool_max : context.kernels.ops->pool_average;
        for_marked(context, marks, int64_t(most_) * y.channels, [&](int32_t row, int32_t begin, int32_t end) {
            thread_local std::vector<const float*> lines;
            lines.clear();
            for (int32_t r = rows_.lists.begin[row]; r < rows_.lists.begin[row + 1]; ++r)
                lines.push_back(x.pixel(rows_.lists.input[r], 0));
            loop({lines.data(), int32_t(lines.size()), columns_.lists.begin.data(),
                  columns_.lists.input.data(), x.stride, rows_.places[row], columns_.places.data(),
                  y.pixel(row, 0), y.stride, begin, end, y.channels});
        });
    }

private:
    PoolKind kind_;
    TensorId x_, y_;
    AxisWindows rows_, columns_;
    int32_t most_;
};

// (rows, columns)
std::pair<AxisWindows, AxisWindows> pool_windows(const Dims& dims_x, const PoolGeometry& geometry,
                                                 const Dims& dims_y) {
    const size_t space = geometry.kernel.size();
    require(space >= 1 && dims_x.size() == space + 2 && dims_y.size() == space + 2,
            "pool: tensors must be [N, space..., C]");
    for (const Dims* one : {&geometry.strides, &geometry.pads_begin, &geometry.pads_end, &geometry.dilations})
        require(one->size() == space, "pool: one entry per spatial axis");
    require(dims_x[0] == dims_y[0] && dims_x.back() == dims_y.back(), "pool: batch or channels differ");
    AxisWindows rows{identity_lists(dims_x[0]), std::vector<float>(dims_x[0], 1.0f)};
    for (size_t axis = 0; axis + 1 < space; ++axis) {
        const AxisWindows inner = windows(dims_x[axis + 1], dims_y[axis + 1], geometry, axis);
        std::vector<float> places;
        for (float outer : rows.places)
            for (float one : inner.places) places.push_back(outer * one);
        rows = {cross(rows.lists, inner.lists, dims_x[axis + 1]), std::move(places)};
    }
    AxisWindows columns = windows(dims_x[space], dims_y[space], geometry, space - 1);
    for (const AxisWindows* one : {&rows, &columns})
        for (int32_t i = 0; i < one->lists.outputs(); ++i)
            require(one->lists.count(i) > 0, "pool: a window lies outside the input");
    return {std::move(rows), std::move(columns)};
}

}  // namespace

StepPtr make_pool(TensorId x, const Dims& dims_x, const PoolGeometry& geometry, TensorId y, const Dims& dims_y) {
    auto [rows, columns] = pool_windows(dims_x, geometry, dims_y);
    return std::make_unique<PoolStep>(geometry.kind, x, y, std::move(rows), std::move(columns));
}

}  // namespace mquans
