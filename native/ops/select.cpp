// Channels picked from several tensors of the same pixels: a gather of a concatenation, without the
// concatenation (channel shuffles).
#include <emmintrin.h>

#include "ops/common.h"

namespace mquans {
namespace {

// Channels at equal steps that come from one input at equal steps: a shuffle of two tensors is two runs.
struct Run {
    int32_t input, to, to_step, from, from_step, count;

    // For pixels [begin, end) of a row.
    void copy(const TensorView& x, const TensorView& y, int32_t row, int32_t begin, int32_t end) const {
        const float* source = x.pixel(row, begin) + from;
        float* target = y.pixel(row, begin) + to;
        const int64_t along = x.stride, up = y.stride;
        const bool shuffle = to_step == 1 && from_step == 2 && count >= 4;
        if (shuffle && count == 12) return every_second(source, along, target, up, end - begin, 12);
        if (shuffle) return every_second(source, along, target, up, end - begin, count);
        for (int32_t i = begin; i < end; ++i, source += along, target += up)
            for (int32_t c = 0; c < count; ++c) target[c * to_step] = source[c * from_step];
    }

private:
    // Shuffles of two halves. One value behind the last is read, which is still in the streams' memory.
    MQ_INLINE static void every_second(const float* source, int64_t along, float* target, int64_t up,
                                       int32_t pixels, int32_t count) {
        const auto four = [&](int32_t c) {
            const __m128 low = _mm_loadu_ps(source + 2 * c), high = _mm_loadu_ps(source + 2 * c + 4);
            _mm_storeu_ps(target + c, _mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));
        };
        for (int32_t i = 0; i < pixels; ++i, source += along, target += up) {
            for (int32_t c = 0; c + 4 <= count; c += 4) four(c);
            if (count % 4) four(count - 4);
        }
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
                if (context.dense) marks.fill_row(row);
                for (const MaskView& mask : in.moved) merge_row(mask, row, marks, row);
                for_each_run(marks.row(row), marks.width, [&](int32_t first, int32_t last) {
                    for (const Run& run : runs_) run.copy(in.x[run.input], y, row, first, last);
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
