// Functions of single values: chains of those of one value, and binary ones with broadcasting.
#include "ops/common.h"

namespace mquans {

std::vector<int32_t> broadcast_rows(const Dims& operand, const Dims& result, size_t outer_axes) {
    const int64_t rows = product(result, 0, outer_axes);
    std::vector<int32_t> map(rows);
    for (int64_t r = 0; r < rows; ++r) {
        int64_t rest = r, source = 0, scale = 1;
        for (size_t axis = outer_axes; axis-- > 0;) {
            const int64_t i = rest % result[axis];
            rest /= result[axis];
            if (operand[axis] != 1) source += i * scale;
            scale *= operand[axis];
        }
        map[r] = int32_t(source);
    }
    return map;
}

namespace {

constexpr int64_t chain_block = 2048;  // values that stay in the first-level cache from link to link

class ChainStep final : public Step {
public:
    ChainStep(TensorId x, TensorId y, std::vector<Link> links) : x_(x), y_(y), links_(std::move(links)) {}

    void run(Context& context) const override {
        const TensorView x = context.tensor(x_), y = context.tensor(y_);
        const MaskView moved = context.mask(x_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else if (marks.bits != moved.bits) {
            std::memcpy(marks.bits, moved.bits, sizeof(uint64_t) * moved.rows * moved.words());
        }
        if (!marks.any()) return;
        const bool compact = x.stride == x.channels && y.stride == y.channels;
        const int64_t cost = 4 * int64_t(x.channels) * int64_t(links_.size());
        for_marked(context, marks, cost, [&](int32_t row, int32_t begin, int32_t end) {
            const int32_t calls = compact ? 1 : end - begin;
            const int64_t n = compact ? int64_t(end - begin) * x.channels : x.channels;
            for (int32_t i = 0; i < calls; ++i) {
                const float* from = x.pixel(row, begin + i);
                float* to = y.pixel(row, begin + i);
                for (int64_t k = 0; k < n; k += chain_block)
                    follow(context.kernels, from + k, to + k, std::min(chain_block, n - k));
            }
        });
    }

private:
    void follow(const KernelTable& kernels, const float* x, float* y, int64_t n) const {
        for (const Link& link : links_) {
            const bool in_front = link.form == Link::Form::number_in_front;
            if (link.form == Link::Form::alone)
                kernels.unary({UnaryKind(link.kind), link.a, link.b, x, y, n});
            else
                kernels.ops->binary({BinaryKind(link.kind), in_front ? &link.a : x, in_front ? x : &link.a, y, 0, 0, 0,
                                     in_front, !in_front, 1, int32_t(n)});
            x = y;
        }
    }

    TensorId x_, y_;
    std::vector<Link> links_;
};

// One operand of a binary step: which of its pixels an output pixel reads.
struct Operand {
    TensorId id;
    std::vector<int32_t> rows;
    bool every_column;   // one pixel serves a whole output row
    bool every_channel;  // one value serves all channels

    Operand(TensorId tensor, const Dims& dims, const Dims& result)
        : id(tensor),
          rows(broadcast_rows(dims, result, dims.size() - 2)),
          every_column(dims[dims.size() - 2] == 1 && result[dims.size() - 2] != 1),
          every_channel(dims.back() == 1 && result.back() != 1) {
        for (size_t i = 0; i < dims.size(); ++i)
            require(dims[i] == 1 || dims[i] == result[i], "binary: operand does not broadcast to the result");
    }

    void merge_marks(MaskView moved, MaskView marks, int32_t row) const {
        if (!every_column) {
            merge_row(moved, rows[row], marks, row);
        } else if (moved.row(rows[row])[0]) {
            marks.fill_row(row);
        }
    }
    const float* at(const TensorView& view, int32_t row, int32_t x) const {
        return view.pixel(rows[row], every_column ? 0 : x);
    }
    int64_t step(const TensorView& view) const { return every_column ? 0 : view.stride; }
};

class BinaryStep final : public Step {
public:
    BinaryStep(BinaryKind kind, Operand a, Operand b, TensorId y)
        : kind_(kind), a_(std::move(a)), b_(std::move(b)), y_(y) {}

    void run(Context& context) const override {
        const TensorView a = context.tensor(a_.id), b = context.tensor(b_.id), y = context.tensor(y_);
        const MaskView moved_a = context.mask(a_.id), moved_b = context.mask(b_.id);
        const MaskView marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else {
            const bool any_a = moved_a.any(), any_b = moved_b.any();
            marks.clear();
            if (!any_a && !any_b) return;
            for (int32_t row = 0; row < marks.rows; ++row) {
                if (any_a) a_.merge_marks(moved_a, marks, row);
                if (any_b) b_.merge_marks(moved_b, marks, row);
            }
        }
        for_marked(context, marks, 2 * int64_t(y.channels), [&](int32_t row, int32_t begin, int32_t end) {
            context.kernels.ops->binary({kind_, a_.at(a, row, begin), b_.at(b, row, begin),
                                         y.pixel(row, begin), a_.step(a), b_.step(b), y.stride,
                                         a_.every_channel, b_.every_channel, end - begin, y.channels});
        });
    }

private:
    BinaryKind kind_;
    Operand a_, b_;
    TensorId y_;
};

}  // namespace

StepPtr make_chain(TensorId x, TensorId y, std::vector<Link> links) {
    require(!links.empty(), "a chain has no function");
    return std::make_unique<ChainStep>(x, y, std::move(links));
}

StepPtr make_binary(BinaryKind kind, TensorId a, const Dims& dims_a, TensorId b, const Dims& dims_b,
                    TensorId y, const Dims& dims_y) {
    require(dims_a.size() == dims_y.size() && dims_b.size() == dims_y.size(), "binary: ranks differ");
    const Dims result = padded(dims_y, 2);
    return std::make_unique<BinaryStep>(kind, Operand(a, padded(dims_a, 2), result),
                                        Operand(b, padded(dims_b, 2), result), y);
}

}  // namespace mquans
