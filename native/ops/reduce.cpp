// Reductions over any axes. Pixels that meet in one result form a group; a group is recomputed
// when any of its pixels moved.
#include <cmath>

#include "ops/common.h"

namespace mquans {
namespace {

constexpr int32_t block_pixels = 64;    // summed on their own first: keeps long sums accurate
constexpr int32_t block_channels = 64;  // one task's share of a group's channels

float start_of(ReduceKind kind) {
    switch (kind) {
        case ReduceKind::max: return -INFINITY;
        case ReduceKind::min: return INFINITY;
        case ReduceKind::prod: return 1.0f;
        default: return 0.0f;
    }
}

float join(ReduceKind kind, float a, float b) {
    switch (kind) {
        case ReduceKind::max: return a > b ? a : b;
        case ReduceKind::min: return a < b ? a : b;
        case ReduceKind::prod: return a * b;
        default: return a + b;
    }
}

class ReduceStep final : public Step {
public:
    ReduceStep(ReduceKind kind, TensorId x, const Dims& dims, const std::vector<bool>& reduced, TensorId y)
        : kind_(kind), x_(x), y_(y), over_channels_(reduced.back()) {
        const size_t axes = dims.size() - 1;
        const int64_t pixels = product(dims, 0, axes);
        group_of_.resize(pixels);
        int64_t groups = 1, size = 1;
        for (size_t axis = 0; axis < axes; ++axis) (reduced[axis] ? size : groups) *= dims[axis];
        for (int64_t p = 0; p < pixels; ++p) {
            int64_t rest = p, group = 0, scale = 1;
            for (size_t axis = axes; axis-- > 0;) {
                const int64_t i = rest % dims[axis];
                rest /= dims[axis];
                if (reduced[axis]) continue;
                group += i * scale;
                scale *= dims[axis];
            }
            group_of_[p] = int32_t(group);
        }
        groups_ = int32_t(groups);
        size_ = int32_t(size);
        members_.resize(pixels);
        std::vector<int32_t> filled(groups, 0);
        for (int64_t p = 0; p < pixels; ++p) {
            const int32_t group = group_of_[p];
            members_[int64_t(group) * size_ + filled[group]++] = int32_t(p);
        }
        contiguous_ = true;
        for (int64_t p = 0; p < pixels; ++p) contiguous_ = contiguous_ && members_[p] == p;
        count_ = float(size) * (over_channels_ ? float(dims.back()) : 1.0f);
    }

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        marks.clear();
        if (!context.dense && !moved.any()) return;
        const int32_t outputs = over_channels_ ? 1 : x.channels;
        const int32_t blocks = (outputs + block_channels - 1) / block_channels;
        thread_local std::vector<uint8_t> scratch;
        scratch.assign(size_t(groups_) * (1 + blocks), 0);
        uint8_t* dirty = scratch.data();
        uint8_t* changed = dirty + groups_;
        mark_groups(moved, dirty, context.dense);
        const int64_t cost = int64_t(size_) * std::min(x.channels, block_channels);
        context.pool.for_rows(groups_ * blocks, grain_for(cost), [&](int32_t begin, int32_t end) {
            for (int32_t task = begin; task < end; ++task) {
                const int32_t group = task / blocks, first = task % blocks * block_channels;
                if (!dirty[group]) continue;
                float values[block_channels];
                const int32_t n = std::min(block_channels, outputs - first);
                compute(*context.kernels.ops, x, group, first, n, values);
                changed[task] = store(values, n, y, int64_t(group) * outputs + first) || context.dense;
            }
        });
        for (int32_t task = 0; task < groups_ * blocks; ++task) {
            if (!changed[task]) continue;
            const int64_t first = int64_t(task / blocks) * outputs + task % blocks * block_channels;
            const int64_t last = std::min(first + block_channels, int64_t(task / blocks + 1) * outputs);
            mark_pixels(marks, first / y.channels, (last + y.channels - 1) / y.channels);
        }
    }

private:
    void mark_groups(MaskView moved, uint8_t* dirty, bool everything) const {
        if (everything || groups_ == 1) {
            std::fill(dirty, dirty + groups_, uint8_t(1));
            return;
        }
        for (int32_t row = 0; row < moved.rows; ++row)
            for_each_pixel(moved.row(row), moved.words(),
                           [&](int32_t i) { dirty[group_of_[int64_t(row) * moved.width + i]] = 1; });
    }

    void compute(const OpLoops& loops, const TensorView& x, int32_t group, int32_t first, int32_t n,
                 float* values) const {
        const int32_t* members = members_.data() + int64_t(group) * size_;
        std::fill(values, values + n, start_of(kind_));
        for (int32_t p = 0; p < size_; p += block_pixels) {
            const int32_t pixels = std::min(block_pixels, size_ - p);
            float part[block_channels];
            std::fill(part, part + n, start_of(kind_));
            if (over_channels_) {
                for (int32_t i = 0; i < pixels; ++i) {
                    const float* pixel = x.pixel(int64_t(members[p + i]));
                    part[0] = join(kind_, part[0], loops.reduce_values(kind_, pixel, x.channels));
                }
            } else if (contiguous_) {
                const float* pixel = x.pixel(int64_t(members[p])) + first;
                loops.reduce_pixels({kind_, pixel, x.stride, pixels, n, part});
            } else {
                for (int32_t i = 0; i < pixels; ++i)
                    loops.reduce_pixels({kind_, x.pixel(int64_t(members[p + i])) + first, 0, 1, n, part});
            }
            for (int32_t c = 0; c < n; ++c) values[c] = join(kind_, values[c], part[c]);
        }
        if (kind_ == ReduceKind::mean)
            for (int32_t c = 0; c < n; ++c) values[c] /= count_;
        if (kind_ == ReduceKind::l2)
            for (int32_t c = 0; c < n; ++c) values[c] = __builtin_sqrtf(values[c]);
    }

    // Writes flat elements from `first` on; tells whether any bit changed.
    static bool store(const float* values, int32_t n, const TensorView& y, int64_t first) {
        bool changed = false;
        for (int32_t i = 0; i < n;) {
            const int64_t element = first + i, channel = element % y.channels;
            const int32_t run = int32_t(std::min<int64_t>(n - i, y.channels - channel));
            float* to = y.pixel(element / y.channels) + channel;
            changed = changed || std::memcmp(to, values + i, sizeof(float) * run) != 0;
            std::memcpy(to, values + i, sizeof(float) * run);
            i += run;
        }
        return changed;
    }

    ReduceKind kind_;
    TensorId x_, y_;
    bool over_channels_;
    bool contiguous_;  // members are all pixels in order
    int32_t groups_, size_;
    float count_;
    std::vector<int32_t> group_of_;  // per pixel
    std::vector<int32_t> members_;   // [groups][size] pixels, ascending
};

// Over the channels of every pixel alone. A pixel of y holds the results of as many pixels of x as it has
// channels.
class ChannelReduceStep final : public Step {
public:
    ChannelReduceStep(ReduceKind kind, TensorId x, TensorId y) : kind_(kind), x_(x), y_(y) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        marks.clear();
        if (!context.dense && !moved.any()) return;
        thread_local std::vector<uint8_t> flags;
        flag_groups(flags, y.pixels(), moved, context.dense, [&](int64_t pixel) { return pixel / y.channels; });
        uint8_t* dirty = flags.data();
        const int64_t cost = int64_t(y.channels) * x.channels;
        context.pool.for_rows(int32_t(y.pixels()), grain_for(cost), [&](int32_t begin, int32_t end) {
            const int32_t together = std::max(1, at_once / y.channels);
            thread_local std::vector<float> made;
            made.resize(int64_t(together) * y.channels);
            for (int32_t p = begin; p < end; p += together)
                take(context, x, y, p, std::min(together, end - p), made.data(), dirty);
        });
        for (int64_t p = 0; p < y.pixels(); ++p)
            if (dirty[p]) marks.set(int32_t(p / y.width), int32_t(p % y.width));
    }

private:
    static constexpr int32_t at_once = 256;  // results

    // Leaves those pixels marked whose bits changed.
    void take(const Context& context, const TensorView& x, const TensorView& y, int32_t first, int32_t count,
              float* made, uint8_t* dirty) const {
        if (!std::any_of(dirty + first, dirty + first + count, [](uint8_t flag) { return flag; })) return;
        const int32_t results = count * y.channels;
        context.kernels.ops->reduce_rows(
            {kind_, x.pixel(int64_t(first) * y.channels), x.stride, results, x.channels, made});
        const float size = float(x.channels);
        for (int32_t i = 0; i < results; ++i) {
            if (kind_ == ReduceKind::mean) made[i] /= size;
            if (kind_ == ReduceKind::l2) made[i] = __builtin_sqrtf(made[i]);
        }
        for (int32_t p = 0; p < count; ++p) {
            float* to = y.pixel(int64_t(first) + p);
            const float* from = made + int64_t(p) * y.channels;
            const size_t bytes = sizeof(float) * y.channels;
            dirty[first + p] = context.dense || (dirty[first + p] && std::memcmp(to, from, bytes) != 0);
            if (dirty[first + p]) std::memcpy(to, from, bytes);
        }
    }

    ReduceKind kind_;
    TensorId x_, y_;
};

}  // namespace

StepPtr make_reduce(ReduceKind kind, TensorId x, const Dims& dims_x, const Dims& axes, TensorId y) {
    const Dims dims = padded(dims_x, 2);
    std::vector<bool> reduced(dims.size(), false);
    for (int32_t axis : axes) {
        require(axis >= 0 && axis < int32_t(dims_x.size()), "reduce: no such axis");
        reduced[axis + dims.size() - dims_x.size()] = true;
    }
    if (reduced.back() && std::count(reduced.begin(), reduced.end(), true) == 1)
        return std::make_unique<ChannelReduceStep>(kind, x, y);
    return std::make_unique<ReduceStep>(kind, x, dims, reduced, y);
}

}  // namespace mquans
