// Batched product of two computed tensors.
#include "ops/common.h"

namespace mquans {
namespace {

class MatMulStep final : public Step {
public:
    MatMulStep(TensorId a, std::vector<int32_t> rows_a, TensorId b, std::vector<int32_t> rows_b, TensorId y)
        : a_(a), b_(b), y_(y), rows_a_(std::move(rows_a)), rows_b_(std::move(rows_b)) {}

    void run(Context& context) const override {
        const TensorView a = context.tensor(a_), b = context.tensor(b_), y = context.tensor(y_);
        const MaskView moved_a = context.mask(a_), moved_b = context.mask(b_), marks = context.mask(y_);
        if (context.dense) {
            marks.fill();
        } else if (!moved_a.any() && !moved_b.any()) {
            return marks.clear();
        } else {
            for (int32_t row = 0; row < marks.rows; ++row) {
                copy_row(moved_a, rows_a_[row], marks, row);
                if (moved_b.row_any(rows_b_[row])) marks.fill_row(row);
            }
        }
        const int64_t cost = int64_t(a.channels) * y.channels;
        for_marked(context, marks, cost, [&](int32_t row, int32_t begin, int32_t end) {
            context.kernels.ops->matmul({a.pixel(rows_a_[row], begin), b.pixel(rows_b_[row], 0),
                                         y.pixel(row, begin), a.stride, b.stride, y.stride, end - begin,
                                         a.channels, y.channels});
        });
    }

private:
    TensorId a_, b_, y_;
    std::vector<int32_t> rows_a_, rows_b_;  // matrix that each matrix of y reads
};

}  // namespace

StepPtr make_matmul(TensorId a, const Dims& dims_a, TensorId b, const Dims& dims_b, TensorId y,
                    const Dims& dims_y) {
    const size_t rank = dims_y.size();
    require(rank >= 2 && dims_a.size() == rank && dims_b.size() == rank,
            "matmul: ranks differ or are below 2");
    require(dims_a[rank - 1] == dims_b[rank - 2] && dims_a[rank - 2] == dims_y[rank - 2] &&
                dims_b[rank - 1] == dims_y[rank - 1],
            "matmul: matrix sizes do not fit");
    for (size_t i = 0; i + 2 < rank; ++i)
        require((dims_a[i] == 1 || dims_a[i] == dims_y[i]) && (dims_b[i] == 1 || dims_b[i] == dims_y[i]),
                "matmul: leading axes do not broadcast");
    return std::make_unique<MatMulStep>(a, broadcast_rows(dims_a, dims_y, rank - 2), b,
                                        broadcast_rows(dims_b, dims_y, rank - 2), y);
}

}  // namespace mquans
