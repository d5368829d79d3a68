// Steps that only move elements, axis by axis: slice, gather, pad, expand, copy.
#include "ops/common.h"

namespace mquans {
namespace {

constexpr int32_t filler = -1;  // stands for the pad value in a map

// For every output index along each axis the input index it copies, or filler.
using AxisMaps = std::vector<std::vector<int32_t>>;

bool is_range(const std::vector<int32_t>& map) {
    for (size_t i = 0; i < map.size(); ++i)
        if (map[i] < 0 || map[i] != map[0] + int32_t(i)) return false;
    return true;
}

class RemapStep final : public Step {
public:
    RemapStep(TensorId x, const Dims& dims_x, const AxisMaps& maps, float value, TensorId y)
        : x_(x), y_(y), value_(value), columns_(maps[maps.size() - 2]), channels_(maps.back()) {
        const size_t outer = maps.size() - 2;
        int64_t total = 1;
        for (size_t i = 0; i < outer; ++i) total *= int64_t(maps[i].size());
        rows_.resize(total);
        for (int64_t r = 0; r < total; ++r) {
            int64_t rest = r, source = 0, scale = 1;
            for (size_t axis = outer; axis-- > 0;) {
                const int32_t i = maps[axis][rest % int64_t(maps[axis].size())];
                rest /= int64_t(maps[axis].size());
                source = i < 0 || source < 0 ? filler : source + i * scale;
                scale *= dims_x[axis];
            }
            rows_[r] = int32_t(source);
        }
        channel_range_ = is_range(channels_);
        channels_whole_ = std::find(channels_.begin(), channels_.end(), filler) == channels_.end();
        same_columns_ = is_range(columns_) && columns_[0] == 0 && int32_t(columns_.size()) == dims_x[outer];
        same_pixels_ = same_columns_ && is_range(rows_) && rows_[0] == 0;
    }

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else if (moved.any()) {
            for (int32_t row = 0; row < marks.rows; ++row) map_marks(moved, marks, row);
        } else {
            marks.clear();
            return;
        }
        const bool in_place = same_pixels_ && channel_range_ && y.stride == x.stride &&
                              y.data == x.data + channels_[0];
        if (in_place) return;
        const bool whole = channel_range_ && x.stride == y.stride && x.stride == y.channels;
        for_marked(context, marks, y.channels, [&](int32_t row, int32_t begin, int32_t end) {
            if (whole && same_columns_ && rows_[row] != filler) {
                std::memcpy(y.pixel(row, begin), x.pixel(rows_[row], begin),
                            sizeof(float) * (end - begin) * y.channels);
                return;
            }
            for (int32_t column = begin; column < end; ++column) copy_pixel(x, y, row, column);
        });
    }

private:
    void map_marks(MaskView moved, MaskView marks, int32_t row) const {
        const int32_t source = rows_[row];
        marks.clear_row(row);
        if (source == filler || !moved.row_any(source)) return;
        if (same_columns_) return copy_row(moved, source, marks, row);
        for (int32_t i = 0; i < marks.width; ++i)
            if (columns_[i] != filler && moved.get(source, columns_[i])) marks.set(row, i);
    }

    void copy_pixel(const TensorView& x, const TensorView& y, int32_t row, int32_t column) const {
        float* to = y.pixel(row, column);
        if (rows_[row] == filler || columns_[column] == filler) {
            std::fill(to, to + y.channels, value_);
            return;
        }
        const float* from = x.pixel(rows_[row], columns_[column]);
        if (channel_range_) {
            std::memcpy(to, from + channels_[0], sizeof(float) * y.channels);
        } else if (channels_whole_) {
            const int32_t* __restrict channel = channels_.data();
            for (int32_t c = 0, n = y.channels; c < n; ++c) to[c] = from[channel[c]];
        } else {
            for (int32_t c = 0; c < y.channels; ++c)
                to[c] = channels_[c] == filler ? value_ : from[channels_[c]];
        }
    }

    TensorId x_, y_;
    float value_;
    std::vector<int32_t> rows_, columns_, channels_;
    bool channel_range_, channels_whole_, same_columns_, same_pixels_;
};

// Same shape, other place: sizes come from the tensors themselves.
class CopyStep final : public Step {
public:
    CopyStep(TensorId x, TensorId y) : x_(x), y_(y) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else {
            std::memmove(marks.bits, moved.bits, sizeof(uint64_t) * moved.rows * moved.words());
        }
        if (x.data == y.data && x.stride == y.stride) return;
        for_marked(context, marks, y.channels, [&](int32_t row, int32_t begin, int32_t end) {
            for (int32_t i = begin; i < end; ++i)
                std::memcpy(y.pixel(row, i), x.pixel(row, i), sizeof(float) * y.channels);
        });
    }

private:
    TensorId x_, y_;
};

// Identity maps for x padded to rank 2 or more; the factories then replace single axes.
AxisMaps identity(const Dims& dims) {
    AxisMaps maps(dims.size());
    for (size_t axis = 0; axis < dims.size(); ++axis) {
        maps[axis].resize(dims[axis]);
        for (int32_t i = 0; i < dims[axis]; ++i) maps[axis][i] = i;
    }
    return maps;
}

StepPtr remap(const char* name, TensorId x, const Dims& dims_x, const AxisMaps& maps, float value, TensorId y,
              const Dims& dims_y) {
    const Dims result = padded(dims_y, maps.size());
    require(result.size() == maps.size(), std::string(name) + ": rank of the result differs");
    for (size_t axis = 0; axis < maps.size(); ++axis) {
        require(int32_t(maps[axis].size()) == result[axis],
                std::string(name) + ": shape of the result differs");
        for (int32_t i : maps[axis])
            require(i >= filler && i < dims_x[axis], std::string(name) + ": index outside the input");
    }
    return std::make_unique<RemapStep>(x, dims_x, maps, value, y);
}

int32_t padded_index(int32_t i, int32_t size, PadMode mode) {
    if (i >= 0 && i < size) return i;
    if (mode == PadMode::constant || size == 0) return filler;
    if (mode == PadMode::edge || size == 1) return std::clamp(i, 0, size - 1);
    const int32_t period = 2 * (size - 1), phase = ((i % period) + period) % period;
    return phase < size ? phase : period - phase;
}

}  // namespace

StepPtr make_slice(TensorId x, const Dims& dims_x, const Dims& starts, const Dims& steps, TensorId y,
                   const Dims& dims_y) {
    require(starts.size() == dims_x.size() && steps.size() == dims_x.size() && dims_y.size() == dims_x.size(),
            "slice: one start, step and size per axis");
    const Dims source = padded(dims_x, 2);
    const size_t extra = source.size() - dims_x.size();
    AxisMaps maps = identity(source);
    for (size_t axis = 0; axis < dims_x.size(); ++axis) {
        std::vector<int32_t>& map = maps[axis + extra];
        map.resize(dims_y[axis]);
        for (int32_t i = 0; i < dims_y[axis]; ++i) {
            map[i] = starts[axis] + i * steps[axis];
            require(map[i] >= 0, "slice: index outside the input");
        }
    }
    return remap("slice", x, source, maps, 0.0f, y, dims_y);
}

StepPtr make_gather(TensorId x, const Dims& dims_x, int32_t axis, const Dims& indices, TensorId y,
                    const Dims& dims_y) {
    require(axis >= 0 && axis < int32_t(dims_x.size()), "gather: no such axis");
    const Dims source = padded(dims_x, 2);
    AxisMaps maps = identity(source);
    for (int32_t i : indices) require(i >= 0, "gather: index outside the input");
    maps[axis + source.size() - dims_x.size()] = indices;
    return remap("gather", x, source, maps, 0.0f, y, dims_y);
}

StepPtr make_pad(TensorId x, const Dims& dims_x, const Dims& begins, PadMode mode, float value, TensorId y,
                 const Dims& dims_y) {
    require(begins.size() == dims_x.size() && dims_y.size() == dims_x.size(), "pad: one size per axis");
    const Dims source = padded(dims_x, 2);
    const size_t extra = source.size() - dims_x.size();
    AxisMaps maps = identity(source);
    for (size_t axis = 0; axis < dims_x.size(); ++axis) {
        std::vector<int32_t>& map = maps[axis + extra];
        map.resize(dims_y[axis]);
        for (int32_t i = 0; i < dims_y[axis]; ++i)
            map[i] = padded_index(i - begins[axis], dims_x[axis], mode);
    }
    return remap("pad", x, source, maps, value, y, dims_y);
}

StepPtr make_expand(TensorId x, const Dims& dims_x, TensorId y, const Dims& dims_y) {
    require(dims_x.size() == dims_y.size(), "expand: ranks differ");
    const Dims source = padded(dims_x, 2), result = padded(dims_y, 2);
    AxisMaps maps = identity(source);
    for (size_t axis = 0; axis < source.size(); ++axis)
        if (source[axis] == 1) maps[axis].assign(result[axis], 0);
    return remap("expand", x, source, maps, 0.0f, y, dims_y);
}

StepPtr make_copy(TensorId x, TensorId y) { return std::make_unique<CopyStep>(x, y); }

}  // namespace mquans
