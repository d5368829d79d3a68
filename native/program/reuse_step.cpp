// A layer in one frame, band of output rows by band: which outputs the changes of its inputs reach, their
// products, then scale, bias and activation.
#include <cstring>

#include "mquans/stream.h"
#include "ops/common.h"
#include "program/steps.h"

namespace mquans {
namespace {

// Marks the outputs of rows [begin, end) that read a changed pixel.
void spread(const LayerShape& s, MaskView changed, MaskView active, int32_t begin, int32_t end) {
    for (int32_t r = begin; r < end; ++r) {
        active.clear_row(r);
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
            for_each_pixel(changed.row(s.rows.taps[i].input), changed.words(), [&](int32_t x) {
                for (int32_t k = s.cols.reach_begin[x]; k < s.cols.reach_begin[x + 1]; ++k)
                    active.set(r, s.cols.reach[k]);
            });
    }
}

int64_t products_of(const LayerShape& s, const ChangeList& changes) {
    int64_t products = 0;
    for (int32_t r = 0; r < s.in_rows; ++r) {
        const int64_t rows = s.rows.reach_begin[r + 1] - s.rows.reach_begin[r];
        for_each_pixel(changes.pixels.row(r), changes.pixels.words(), [&](int32_t x) {
            const uint16_t* count = changes.count + (int64_t(r) * s.in_width + x) * s.groups;
            const int64_t outputs = rows * (s.cols.reach_begin[x + 1] - s.cols.reach_begin[x]);
            for (int32_t g = 0; g < s.groups; ++g) products += outputs * count[g];
        });
    }
    return products * s.group_out();
}

}  // namespace

void ReuseStep::run(Context& context) const {
    const LayerSpec& layer = program_.layers[layer_];
    const QuantizedSpec& input = program_.quantized[layer.input];
    const LayerShape& s = layer.shape;
    const ChangeList changes = context.changes(input);
    const MaskView active = context.mask(layer.y);
    const Accumulators acc = context.stream.accumulators(layer);
    if (context.keep_held) {
        // What the last frame cost stays on record.
        std::memset(acc.data, 0, sizeof(int32_t) * layer.acc_size());
    } else {
        LayerReport& report = context.stream.reports[layer_] = {};
        for (int32_t r = 0; r < s.in_rows; ++r) report.changed += context.stream.row_changed(input)[r];
        report.macs_done = products_of(s, changes);
    }
    if (!context.dense && !changes.pixels.any()) return active.clear();
    const TensorView y = context.tensor(layer.y);
    const int64_t row_values = int64_t(s.out_width) * s.out_channels;
    context.pool.for_rows(s.out_rows, grain_for(row_values), [&](int32_t begin, int32_t end, int) {
        if (context.dense)
            for (int32_t r = begin; r < end; ++r) active.fill_row(r);
        else
            spread(s, changes.pixels, active, begin, end);
        context.kernels.delta_conv({&s, layer.weights(), &changes, active, acc, begin, end});
        context.kernels.epilogue({acc, s.groups, s.group_out(), layer.scale.data(), layer.bias.data(),
                                  layer.activated, layer.activation, layer.a, layer.b, active, y, begin, end});
    });
}

}  // namespace mquans
