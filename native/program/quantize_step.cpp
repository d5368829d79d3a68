#include <algorithm>

#include "mquans/stream.h"
#include "program/port.h"
#include "program/steps.h"
#include "program/time_step.h"

namespace mquans {

QuantizeArgs quantize_args(const Context& context, const QuantizedSpec& q, const TensorView& x,
                           int32_t begin, int32_t end) {
    QuantizeArgs args;
    args.x = x;
    args.dirty = context.mask(q.x);
    args.held = context.stream.held(q);
    args.inverse_delta = q.inverse_delta.data();
    args.limit = q.limit;
    args.offset = q.offset.data();
    args.mask = q.mask.data();
    args.threshold = context.snap ? q.zero_threshold.data() : q.threshold.data();
    args.hold = q.hold;
    args.groups = q.groups;
    args.list = !context.snap && context.stream.lists(q);
    args.changes = context.changes(q);
    args.row_capacity = q.row_capacity;
    args.row_changed = context.stream.row_changed(q);
    args.row_begin = begin;
    args.row_end = end;
    return args;
}

void quantize_nothing(const Context& context, const QuantizedSpec& q) {
    const ChangeList changes = context.changes(q);
    // Counts of pixels outside `changes.pixels` are read as well: they must not be last frame's.
    if (!changes.pixels.any()) return;
    changes.pixels.clear();
    std::memset(changes.count, 0, sizeof(uint16_t) * q.rows * q.width * q.groups);
    std::memset(context.stream.row_changed(q), 0, sizeof(int64_t) * q.rows);
}

namespace {

// Straight from the caller's array: a frame that was stored would have to be fetched from memory again.
void quantize_input(const Context& context, const QuantizedSpec& q, TensorView x, int32_t begin, int32_t end,
                    float* room) {
    const int64_t row_values = int64_t(q.width) * q.channels;
    const Port& port = context.stream.program().inputs[q.input];
    for (int32_t first = begin; first < end; first += q.input_rows) {
        const int32_t last = std::min(end, first + q.input_rows);
        for (int32_t r = first; r < last; ++r)
            lay_out(port, context.stream.brought(q.input), r, q.width, q.channels, room + (r - first) * row_values);
        x.data = room - first * row_values;
        context.kernels.quantize(quantize_args(context, q, x, first, last));
    }
}

}  // namespace

void QuantizeStep::run(Context& context) const {
    const QuantizedSpec& q = program_.quantized[id_];
    if (q.fused) return;
    if (context.keep_held) return quantize_nothing(context, q);
    if (q.order != Order::frames) {
        const TensorView x = context.tensor(q.x);
        for (int32_t k = 0; k < q.rows; ++k) quantize_time_step(context, q, x, k);
        return;
    }
    const MaskView dirty = context.mask(q.x);
    if (context.snap || q.input >= 0) dirty.fill();
    if (!dirty.any()) return quantize_nothing(context, q);
    const TensorView x = context.tensor(q.x);
    const int32_t grain = 1 + 4096 / (q.width * q.channels + 1);
    context.pool.for_rows(q.rows, grain, [&](int32_t begin, int32_t end, int worker) {
        if (q.input >= 0)
            quantize_input(context, q, x, begin, end, context.room.bands[worker].values.data());
        else
            context.kernels.quantize(quantize_args(context, q, x, begin, end));
    });
}

}  // namespace mquans
