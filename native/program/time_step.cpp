#include "program/time_step.h"

#include <algorithm>

#include "mquans/stream.h"
#include "ops/common.h"
#include "program/steps.h"

namespace mquans {
namespace {

// Held rows that are multiplied together: of fewer, weights are not read often enough; more of them take
// memory.
constexpr int32_t fewest_sums = 8, most_sums = 64;
constexpr int32_t panel = 256;  // outputs that a thread takes

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

void report_time_step(const Context& context, int32_t index, int32_t k) {
    const LayerSpec& layer = context.stream.program().layers[index];
    const QuantizedSpec& q = context.stream.program().quantized[layer.input];
    LayerReport& report = context.stream.reports[index];
    if (!k) report = {};
    const int64_t changed = context.stream.row_changed(q)[q.row_at(k)];
    report.changed += changed;
    report.macs_done += changed * layer.shape.out_channels;
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
    if (!context.keep_held) report_time_step(context, index, k);
}

void SequenceStep::run(Context& context) const {
    const LayerSpec& layer = program_.layers[layer_];
    const TensorView y = context.tensor(layer.y);
    const QuantizedSpec& q = program_.quantized[layer.input];
    const int32_t at_once = std::max(1, most_sums / q.width);
    for (int32_t k = 0; k < layer.time_steps; k += at_once) {
        const int32_t end = std::min(k + at_once, layer.time_steps);
        if (mostly_changed(context, k, end)) {
            compute_whole(context, k, end);
            continue;
        }
        for (int32_t step = k; step < end; ++step)
            compute_time_step(context, layer_, step, y.pixel(q.row_at(step), 0));
    }
}

bool SequenceStep::mostly_changed(const Context& context, int32_t begin, int32_t end) const {
    const QuantizedSpec& q = program_.quantized[program_.layers[layer_].input];
    // Recomputing goes the way of changes, so that one way proves the other.
    if (context.keep_held || (end - begin) * q.width < fewest_sums) return false;
    int64_t changed = 0;
    for (int32_t k = begin; k < end; ++k) changed += context.stream.row_changed(q)[q.row_at(k)];
    return changed * 4 > int64_t(end - begin) * q.width * q.channels;
}

void SequenceStep::compute_whole(Context& context, int32_t begin, int32_t end) const {
    const LayerSpec& layer = program_.layers[layer_];
    const QuantizedSpec& q = program_.quantized[layer.input];
    const int32_t count = end - begin, outputs = layer.shape.out_channels;
    const int32_t row = std::min(q.row_at(begin), q.row_at(end - 1));
    const int64_t row_size = int64_t(q.width) * layer.pixel_stride;
    std::vector<int32_t>& sums = context.scratch.sums;
    sums.resize(count * row_size + 64);  // vectors may be read past the end
    const int16_t* held = context.stream.held(q) + int64_t(row) * q.width * q.channels;
    context.pool.for_rows((outputs + panel - 1) / panel, 1, [&](int32_t first, int32_t last) {
        context.kernels.held_sums({held, count * q.width, q.channels, layer.weights(), sums.data(),
                                   first * panel, std::min(last * panel, outputs)});
    });
    const MaskView all = context.mask(layer.y), active{all.row(row), count, all.width};
    active.fill();
    const TensorView y = context.tensor(layer.y);
    const TensorView out{y.pixel(row, 0), count, y.width, y.channels, y.stride};
    context.pool.for_rows(count, grain_for(row_size), [&](int32_t first, int32_t last) {
        context.kernels.epilogue({{sums.data(), layer.pixel_stride, layer.group_stride}, 1, outputs,
                                  layer.scale.data(), layer.bias.data(), layer.activated, layer.activation,
                                  layer.a, layer.b, active, out, first, last});
    });
    const int32_t* latest = sums.data() + (q.row_at(end - 1) - row) * row_size;
    std::memcpy(context.stream.accumulators(layer).data, latest, sizeof(int32_t) * row_size);
    for (int32_t k = begin; k < end; ++k) report_time_step(context, layer_, k);
}

}  // namespace mquans
