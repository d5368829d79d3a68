// Channels picked from several tensors of the same pixels: a gather of a concatenation, without the
// concatenation (channel shuffles).
#include "common.h"

namespace mquans {
namespace {

// Outputs at equal steps that come from one input at equal steps: a shuffle of two tensors is two.
struct Run {
    int32_t input, to, to_step, from, from_step, count;

    void copy(const float* x, float* y) const {
        // Shuffles step by one or two.
        if (to_step == 1 && from_step == 1) return copy_steps(x, y, 1, 1);
        if (to_step == 1 && from_step == 2) return copy_steps(x, y, 1, 2);
        if (to_step == 2 && from_step == 1) return copy_steps(x, y, 2, 1);
        copy_steps(x, y, to_step, from_step);
    }

private:
    MQ_INLINE void copy_steps(const float* __restrict x, float* __restrict y, int32_t up, int32_t along) const {
        x += from;
        y += to;
        for (int32_t i = 0, n = count; i < n; ++i, y += up, x += along) *y = *x;
    }
};

// The outputs of one input, cut where their steps change.
void add_runs(int32_t input, const Dims& input_of, const Dims& channel_of, std::vector<Run>& runs) {
    bool open = false;
    for (int32_t c = 0; c < int32_t(input_of.size()); ++c) {
        if (input_of[c] != input) continue;
        if (open) {
            Run& run = runs.back();
            const int32_t to_step = c - run.to - (run.count - 1) * run.to_step;
            const int32_t from_step = channel_of[c] - run.from - (run.count - 1) * run.from_step;
            if (run.count == 1 || (to_step == run.to_step && from_step == run.from_step)) {
                run.to_step = to_step;
                run.from_step = from_step;
                ++run.count;
                continue;
            }
        }
        runs.push_back({input, c, 1, channel_of[c], 1, 1});
        open = true;
    }
}

class SelectStep final : public Step {
public:
    SelectStep(const std::vector<TensorId>& inputs, const Dims& input_of, const Dims& channel_of, TensorId y)
        : inputs_(inputs), y_(y) {
        for (int32_t i = 0; i < int32_t(inputs.size()); ++i) add_runs(i, input_of, channel_of, runs_);
    }

    void run(Context& context) const override {
        const TensorView y = context.tensor(y_);
        const MaskView marks = context.mask(y_);
        const Operands in(context, inputs_);
        if (!in.any) return marks.clear();
        const int32_t grain = grain_for(int64_t(y.width) * y.channels);
        context.pool.for_rows(y.rows, grain, [&](int32_t begin, int32_t end) {
            for (int32_t row = begin; row < end; ++row) {
                marks.clear_row(row);
                if (context.snap) marks.fill_row(row);
                for (const MaskView& mask : in.moved) merge_row(mask, row, marks, row);
                for_each_pixel(marks.row(row), marks.words(), [&](int32_t column) {
                    for (const Run& run : runs_)
                        run.copy(in.x[run.input].pixel(row, column), y.pixel(row, column));
                });
            }
        });
    }

private:
    std::vector<TensorId> inputs_;
    TensorId y_;
    std::vector<Run> runs_;
};

}  // namespace

StepPtr make_select(const std::vector<TensorId>& inputs, const Dims& input_of, const Dims& channel_of,
                    TensorId y) {
    require(!inputs.empty() && input_of.size() == channel_of.size(), "select: one source per channel");
    for (int32_t i : input_of) require(i >= 0 && i < int32_t(inputs.size()), "select: no such input");
    return std::make_unique<SelectStep>(inputs, input_of, channel_of, y);
}

}  // namespace mquans
