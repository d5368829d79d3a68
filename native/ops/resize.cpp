// Resampling through tables of weights per axis.
#include "ops/region.h"

namespace mquans {
namespace {

class ResizeStep final : public Step {
public:
    ResizeStep(TensorId x, TensorId y, AxisLists rows, AxisLists columns, AxisLists channels,
               bool keeps_channels)
        : x_(x),
          y_(y),
          rows_(std::move(rows)),
          columns_(std::move(columns)),
          channels_(std::move(channels)),
          keeps_channels_(keeps_channels) {
        most_ = rows_.most() * columns_.most();
        nearest_ = true;
        for (const AxisLists* lists : {&rows_, &columns_})
            for (float weight : lists->weight) nearest_ = nearest_ && weight == 1.0f;
        nearest_ = nearest_ && most_ == 1 && keeps_channels_;
    }

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else if (moved.any()) {
            map_windows(rows_, columns_, moved, marks);
        } else {
            return marks.clear();
        }
        for_marked(context, marks, int64_t(most_) * y.channels, [&](int32_t row, int32_t begin, int32_t end) {
            if (nearest_) {
                const int32_t source = rows_.input[rows_.begin[row]];
                for (int32_t i = begin; i < end; ++i)
                    std::memcpy(y.pixel(row, i), x.pixel(source, columns_.input[columns_.begin[i]]),
                                sizeof(float) * y.channels);
                return;
            }
            thread_local std::vector<const float*> pixels;
            thread_local std::vector<float> weights;
            pixels.resize(most_);
            weights.resize(most_);
            for (int32_t i = begin; i < end; ++i) {
                int32_t count = 0;
                for (int32_t r = rows_.begin[row]; r < rows_.begin[row + 1]; ++r)
                    for (int32_t c = columns_.begin[i]; c < columns_.begin[i + 1]; ++c) {
                        pixels[count] = x.pixel(rows_.input[r], columns_.input[c]);
                        weights[count++] = rows_.weight[r] * columns_.weight[c];
                    }
                const WindowArgs window{pixels.data(), weights.data(), count, y.pixel(row, i), y.channels};
                if (keeps_channels_) {
                    context.kernels.ops->window_weighted(window);
                } else {
                    mix_channels(window);
                }
            }
        });
    }

private:
    void mix_channels(const WindowArgs& window) const {
        for (int32_t c = 0; c < window.channels; ++c) {
            float sum = 0.0f;
            for (int32_t k = 0; k < window.count; ++k)
                for (int32_t j = channels_.begin[c]; j < channels_.begin[c + 1]; ++j)
                    sum = __builtin_fmaf(window.weight[k] * channels_.weight[j],
                                         window.x[k][channels_.input[j]], sum);
            window.y[c] = sum;
        }
    }

    TensorId x_, y_;
    AxisLists rows_, columns_, channels_;
    bool keeps_channels_;
    bool nearest_;
    int32_t most_;
};

AxisLists lists_of(const AxisWeights& axis, int32_t size, int32_t outputs) {
    if (axis.begin.empty()) {
        require(size == outputs, "resize: sizes differ along an axis that is copied");
        return identity_lists(size);
    }
    require(int32_t(axis.begin.size()) == outputs + 1 && axis.begin.front() == 0 &&
                axis.begin.back() == int32_t(axis.input.size()) && axis.input.size() == axis.weight.size(),
            "resize: table does not fit the output");
    for (int32_t i = 0; i < outputs; ++i)
        require(axis.begin[i] < axis.begin[i + 1], "resize: an output has no input");
    for (int32_t i : axis.input) require(i >= 0 && i < size, "resize: index outside the input");
    return {axis.begin, axis.input, axis.weight};
}

}  // namespace

StepPtr make_resize(TensorId x, const Dims& dims_x, const std::vector<AxisWeights>& axes, TensorId y,
                    const Dims& dims_y) {
    require(axes.size() == dims_x.size() && dims_y.size() == dims_x.size(), "resize: one table per axis");
    const Dims source = padded(dims_x, 2), result = padded(dims_y, 2);
    std::vector<AxisWeights> tables(source.size() - axes.size());
    tables.insert(tables.end(), axes.begin(), axes.end());
    const size_t n = source.size();
    AxisLists rows = identity_lists(1);
    for (size_t axis = 0; axis + 2 < n; ++axis)
        rows = cross(rows, lists_of(tables[axis], source[axis], result[axis]), source[axis]);
    return std::make_unique<ResizeStep>(x, y, std::move(rows),
                                        lists_of(tables[n - 2], source[n - 2], result[n - 2]),
                                        lists_of(tables[n - 1], source[n - 1], result[n - 1]),
                                        tables[n - 1].begin.empty());
}

}  // namespace mquans
