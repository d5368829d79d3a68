#include "program/time_step.h"

#include "mquans/stream.h"
#include "program/steps.h"

namespace mquans {
namespace {

// One row, all of it active.
MaskView full_row(MaskView mask, int32_t row) {
    mask.fill_row(row);
    return {mask.row(row), 1, mask.width};
}

// The changes of one row as those of a tensor of one row.
ChangeList row_of(const ChangeList& all, const QuantizedSpec& q, int32_t row) {
    ChangeList changes = all;
    const int64_t first = int64_t(row) * q.width * q.groups;
    changes.begin += first;
    changes.count += first;
    changes.pixels = {all.pixels.row(row), 1, q.width};
    return changes;
}

}  // namespace

void quantize_time_step(const Context& context, const QuantizedSpec& q, const TensorView& x, int32_t k) {
    const int32_t row = q.row_at(k), before = q.row_at(k ? k - 1 : q.rows - 1);
    const int64_t size = int64_t(q.width) * q.channels;
    int16_t* held = context.stream.held(q);
    if (row != before) std::memcpy(held + row * size, held + before * size, size * sizeof(int16_t));
    context.mask(q.x).fill_row(row);
    QuantizeArgs args = quantize_args(context, q, x, row, row + 1);
    // A keyframe ends all staleness at the first time step; the others follow by the rule.
    if (k) args.threshold = q.threshold.data();
    context.kernels.quantize(args);
}

void compute_time_step(const Context& context, int32_t index, int32_t k, float* y) {
    const LayerSpec& layer = context.stream.program().layers[index];
    const QuantizedSpec& q = context.stream.program().quantized[layer.input];
    const LayerShape& s = layer.shape;
    const int32_t row = q.row_at(k);
    const ChangeList changes = row_of(context.changes(q), q, row);
    // A recurrence takes its products one by one from a tensor of one row.
    const MaskView all = context.mask(layer.y), active = full_row(all, all.rows > 1 ? row : 0);
    const Accumulators acc = context.stream.accumulators(layer);
    if (context.keep_held) {
        std::memset(acc.data, 0, sizeof(int32_t) * layer.acc_size());
        list_held(context, q, row, row + 1);
    }
    context.kernels.delta_conv({&s, layer.weights(), &changes, active, acc, 0, 1});
    const TensorView out{y, 1, s.out_width, s.out_channels, s.out_channels};
    context.kernels.epilogue({acc, 1, s.out_channels, layer.scale.data(), layer.bias.data(), layer.activated,
                              layer.activation, layer.a, layer.b, active, out, 0, 1});
    if (context.keep_held) return;
    LayerReport& report = context.stream.reports[index];
    if (!k) report = {};
    const int64_t changed = context.stream.row_changed(q)[row];
    report.changed += changed;
    report.macs_done += changed * s.out_channels;
}

void SequenceStep::run(Context& context) const {
    const LayerSpec& layer = program_.layers[layer_];
    const TensorView y = context.tensor(layer.y);
    const QuantizedSpec& q = program_.quantized[layer.input];
    for (int32_t k = 0; k < layer.time_steps; ++k)
        compute_time_step(context, layer_, k, y.pixel(q.row_at(k), 0));
}

}  // namespace mquans
