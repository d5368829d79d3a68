// Channels picked from several tensors of the same pixels: a gather of a concatenation, without the
// concatenation (channel shuffles).
#include "common.h"

namespace mquans {
namespace {

class SelectStep final : public Step {
public:
    SelectStep(const std::vector<TensorId>& inputs, const Dims& input_of, const Dims& channel_of, TensorId y)
        : inputs_(inputs), y_(y), channels_(channel_of) {
        for (int32_t c = 0; c < int32_t(input_of.size()); ++c) {
            if (c == 0 || input_of[c] != input_of[c - 1]) runs_.push_back({input_of[c], c, c});
            runs_.back().end = c + 1;
        }
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
                        pick(run, in.x[run.input].pixel(row, column), y.pixel(row, column));
                });
            }
        });
    }

private:
    // Neighbouring outputs that come from one input.
    struct Run {
        int32_t input, begin, end;
    };

    void pick(const Run& run, const float* __restrict from, float* __restrict to) const {
        const int32_t* __restrict channel = channels_.data();
        for (int32_t c = run.begin; c < run.end; ++c) to[c] = from[channel[c]];
    }

    std::vector<TensorId> inputs_;
    TensorId y_;
    Dims channels_;
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
