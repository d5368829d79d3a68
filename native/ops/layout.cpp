// Steps that change the order or the shape of whole tensors: concat, permute, alias (reshape).
#include "ops/common.h"

namespace mquans {
namespace {

class ConcatStep final : public Step {
public:
    ConcatStep(const std::vector<TensorId>& inputs, const std::vector<Dims>& dims, size_t axis, TensorId y,
               const Dims& dims_y)
        : inputs_(inputs), y_(y) {
        const size_t rank = dims_y.size();
        const Extent extent(dims_y);
        sources_.resize(extent.rows);
        const int64_t inner = axis + 2 < rank ? product(dims_y, axis + 1, rank - 2) : 1;
        int32_t offset = 0;
        for (size_t i = 0; i < inputs.size(); ++i) {
            const int32_t size = dims[i][axis];
            if (axis + 2 >= rank) {
                const bool channel = axis + 1 == rank;
                for (int32_t r = 0; r < extent.rows; ++r)
                    sources_[r].push_back({int32_t(i), r, channel ? 0 : offset, channel ? offset : 0});
            } else {
                const int64_t block = inner * size;
                for (int64_t r = 0, n = product(dims_y, 0, axis) * block; r < n; ++r) {
                    const int64_t target = (r / block * dims_y[axis] + offset) * inner + r % block;
                    sources_[target].push_back({int32_t(i), int32_t(r), 0, 0});
                }
            }
            offset += size;
        }
    }

    void run(Context& context) const override {
        const TensorView y = context.tensor(y_);
        const MaskView marks = context.mask(y_);
        const Operands in(context, inputs_);
        if (!in.any) return marks.clear();
        const int64_t cost = int64_t(y.width) * y.channels;
        context.pool.for_rows(y.rows, grain_for(cost), [&](int32_t begin, int32_t end) {
            for (int32_t row = begin; row < end; ++row) {
                marks.clear_row(row);
                for (const Source& source : sources_[row])
                    join(source, in.x[source.input], in.moved[source.input], y, marks, row, context.dense);
            }
        });
    }

private:
    // What an output row takes from one input, and where it goes.
    struct Source {
        int32_t input, row, column, channel;
    };

    static void join(const Source& source, const TensorView& x, MaskView moved, const TensorView& y,
                     MaskView marks, int32_t row, bool everything) {
        const float* first = x.pixel(source.row, 0);
        float* target = y.pixel(row, source.column) + source.channel;
        const bool in_place = first == target && x.stride == y.stride;
        const bool compact = x.channels == y.stride && x.channels == x.stride;
        auto copy = [&](int32_t begin, int32_t end) {
            mark_run(marks.row(row), source.column + begin, source.column + end);
            if (in_place) return;
            if (compact) {
                std::memcpy(target + int64_t(begin) * y.stride, first + int64_t(begin) * x.stride,
                            sizeof(float) * (end - begin) * x.channels);
                return;
            }
            for (int32_t i = begin; i < end; ++i)
                std::memcpy(target + int64_t(i) * y.stride, first + int64_t(i) * x.stride,
                            sizeof(float) * x.channels);
        };
        if (everything) {
            copy(0, x.width);
        } else {
            for_each_run(moved.row(source.row), moved.width, copy);
        }
    }

    std::vector<TensorId> inputs_;
    TensorId y_;
    std::vector<std::vector<Source>> sources_;  // per output row
};

// A permutation that keeps the channel axis moves whole pixels.
class PixelPermuteStep final : public Step {
public:
    PixelPermuteStep(TensorId x, const Dims& dims_x, const Dims& perm, TensorId y) : x_(x), y_(y) {
        const size_t axes = perm.size() - 1;
        std::vector<int64_t> step(axes);
        for (size_t i = 0; i < axes; ++i) step[i] = product(dims_x, perm[i] + 1, axes);
        sources_.resize(product(dims_x, 0, axes));
        for (size_t p = 0; p < sources_.size(); ++p) {
            int64_t rest = int64_t(p), source = 0;
            for (size_t i = axes; i-- > 0;) {
                source += rest % dims_x[perm[i]] * step[i];
                rest /= dims_x[perm[i]];
            }
            sources_[p] = int32_t(source);
        }
    }

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else {
            marks.clear();
            if (!moved.any()) return;
            const int32_t* source = sources_.data();
            for (int32_t row = 0; row < marks.rows; ++row)
                for (int32_t i = 0; i < marks.width; ++i, ++source)
                    if (moved.get(*source / moved.width, *source % moved.width)) marks.set(row, i);
        }
        for_marked(context, marks, y.channels, [&](int32_t row, int32_t begin, int32_t end) {
            const int32_t* source = sources_.data() + int64_t(row) * y.width;
            for (int32_t i = begin; i < end; ++i)
                std::memcpy(y.pixel(row, i), x.pixel(int64_t(source[i])), sizeof(float) * y.channels);
        });
    }

private:
    TensorId x_, y_;
    std::vector<int32_t> sources_;  // input pixel per output pixel
};

// A permutation that moves the channel axis: a set of small transpositions, each of the input axis
// that becomes innermost against the channels.
class TransposeStep final : public Step {
public:
    TransposeStep(TensorId x, const Dims& dims_x, const Dims& perm, TensorId y) : x_(x), y_(y) {
        const int32_t last = int32_t(perm.size()) - 1, inner = perm[last];
        Dims dims_y(perm.size());
        for (int32_t i = 0; i <= last; ++i) dims_y[i] = dims_x[perm[i]];
        length_ = dims_x[inner];
        from_step_ = product(dims_x, inner + 1, last);
        tasks_ = {{0, 0}};
        for (int32_t i = 0; i < last; ++i) {
            const int64_t to = product(dims_y, i + 1, last);
            if (perm[i] == last) {
                to_step_ = to;
                continue;
            }
            const int64_t from = product(dims_x, perm[i] + 1, last);
            std::vector<Task> next;
            next.reserve(tasks_.size() * dims_y[i]);
            for (const Task& task : tasks_)
                for (int64_t k = 0; k < dims_y[i]; ++k)
                    next.push_back({task.from + k * from, task.to + k * to});
            tasks_ = std::move(next);
        }
    }

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else {
            marks.clear();
            if (!moved.any()) return;
        }
        thread_local std::vector<uint8_t> scratch;
        scratch.assign(tasks_.size(), 0);
        uint8_t* moved_any = scratch.data();
        const int64_t cost = int64_t(length_) * x.channels;
        context.pool.for_rows(int32_t(tasks_.size()), grain_for(cost), [&](int32_t begin, int32_t end) {
            for (int32_t t = begin; t < end; ++t)
                moved_any[t] = transpose(tasks_[t], x, moved, y, context.dense);
        });
        if (context.dense) return;
        for (size_t t = 0; t < tasks_.size(); ++t)
            if (moved_any[t])
                for (int32_t c = 0; c < x.channels; ++c) {
                    const int64_t pixel = tasks_[t].to + c * to_step_;
                    marks.set(int32_t(pixel / marks.width), int32_t(pixel % marks.width));
                }
    }

private:
    // First pixels of one transposition.
    struct Task {
        int64_t from, to;
    };

    bool transpose(const Task& task, const TensorView& x, MaskView moved, const TensorView& y,
                   bool everything) const {
        constexpr int32_t tile = 16;  // one cache line of channels at a time
        bool any = false;
        for (int32_t k0 = 0; k0 < length_; k0 += tile) {
            const float* from[tile];
            int32_t place[tile];
            int32_t n = 0;
            for (int32_t k = k0; k < std::min(length_, k0 + tile); ++k) {
                const int64_t pixel = task.from + k * from_step_;
                if (!everything && !moved.get(int32_t(pixel / moved.width), int32_t(pixel % moved.width)))
                    continue;
                from[n] = x.pixel(pixel);
                place[n++] = k;
            }
            if (n == 0) continue;
            any = true;
            for (int32_t c0 = 0; c0 < x.channels; c0 += tile)
                for (int32_t c = c0; c < std::min(x.channels, c0 + tile); ++c) {
                    float* to = y.pixel(task.to + c * to_step_);
                    for (int32_t i = 0; i < n; ++i) to[place[i]] = from[i][c];
                }
        }
        return any;
    }

    TensorId x_, y_;
    int32_t length_;                      // of the axis that becomes innermost
    int64_t from_step_, to_step_ = 0;     // pixels between its elements in x, between channels in y
    std::vector<Task> tasks_;
};

// Which windows hold what moved; their values lie where the tensor's are.
class WindowMarksStep final : public Step {
public:
    WindowMarksStep(TensorId x, int32_t taps, int32_t step, TensorId y) : x_(x), y_(y), taps_(taps), step_(step) {}

    void run(Context& context) const override {
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) return marks.fill();
        marks.clear();
        for_each_run(moved.row(0), moved.width, [&](int32_t begin, int32_t end) {
            const int32_t first = std::max(0, (begin - taps_ + step_) / step_);
            const int32_t last = std::min(marks.width, (end - 1) / step_ + 1);
            if (first < last) mark_run(marks.row(0), first, last);
        });
    }

private:
    TensorId x_, y_;
    int32_t taps_, step_;  // pixels of a window, and between windows
};

class AliasStep final : public Step {
public:
    AliasStep(TensorId x, TensorId y) : x_(x), y_(y) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        const bool in_place = x.data == y.data && x.stride == x.channels && y.stride == y.channels;
        if (context.dense) {
            marks.fill();
            if (!in_place) copy(x, y, 0, x.pixels() * x.channels);
            return;
        }
        marks.clear();
        for (int32_t row = 0; row < moved.rows; ++row)
            for_each_run(moved.row(row), moved.width, [&](int32_t begin, int32_t end) {
                const int64_t first = (int64_t(row) * x.width + begin) * x.channels;
                const int64_t last = first + int64_t(end - begin) * x.channels;
                mark_pixels(marks, first / y.channels, (last + y.channels - 1) / y.channels);
                if (!in_place) copy(x, y, first, last);
            });
    }

private:
    // Elements [begin, end) in flat order.
    static void copy(const TensorView& x, const TensorView& y, int64_t begin, int64_t end) {
        if (x.stride == x.channels && y.stride == y.channels) {
            std::memcpy(y.data + begin, x.data + begin, sizeof(float) * (end - begin));
            return;
        }
        while (begin < end) {
            const int64_t cx = begin % x.channels, cy = begin % y.channels;
            const int64_t n = std::min({x.channels - cx, y.channels - cy, end - begin});
            std::memcpy(y.pixel(begin / y.channels) + cy, x.pixel(begin / x.channels) + cx,
                        sizeof(float) * n);
            begin += n;
        }
    }

    TensorId x_, y_;
};

}  // namespace

StepPtr make_concat(const std::vector<TensorId>& inputs, const std::vector<Dims>& dims, int32_t axis,
                    TensorId y, const Dims& dims_y) {
    const size_t rank = dims_y.size();
    require(inputs.size() == dims.size() && !inputs.empty(), "concat: one shape per input");
    require(axis >= 0 && size_t(axis) < rank, "concat: no such axis");
    std::vector<Dims> wide;
    const Dims result = padded(dims_y, 2);
    const size_t place = axis + result.size() - rank;
    int32_t total = 0;
    for (const Dims& one : dims) {
        require(one.size() == rank, "concat: ranks differ");
        wide.push_back(padded(one, 2));
        for (size_t i = 0; i < result.size(); ++i)
            require(i == place || wide.back()[i] == result[i], "concat: shapes differ off the axis");
        total += wide.back()[place];
    }
    require(total == result[place], "concat: sizes along the axis do not add up");
    return std::make_unique<ConcatStep>(inputs, wide, place, y, result);
}

StepPtr make_permute(TensorId x, const Dims& dims_x, const Dims& perm, TensorId y, const Dims& dims_y) {
    require(perm.size() == dims_x.size() && dims_y.size() == dims_x.size(), "permute: ranks differ");
    Dims sorted = perm;
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < perm.size(); ++i) {
        require(sorted[i] == int32_t(i), "permute: not a permutation");
        require(dims_y[i] == dims_x[perm[i]], "permute: shape of the result differs");
    }
    if (perm.size() < 2) return make_copy(x, y);
    if (perm.back() == int32_t(perm.size()) - 1)
        return std::make_unique<PixelPermuteStep>(x, dims_x, perm, y);
    return std::make_unique<TransposeStep>(x, dims_x, perm, y);
}

StepPtr make_window_marks(TensorId x, int32_t taps, int32_t step, TensorId y) {
    require(taps >= 1 && step >= 1, "windows: no such geometry");
    return std::make_unique<WindowMarksStep>(x, taps, step, y);
}

StepPtr make_alias(TensorId x, const Dims& dims_x, TensorId y, const Dims& dims_y) {
    require(product(dims_x, 0, dims_x.size()) == product(dims_y, 0, dims_y.size()),
            "alias: numbers of elements differ");
    return std::make_unique<AliasStep>(x, y);
}

}  // namespace mquans
