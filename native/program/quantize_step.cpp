#include "mquans/stream.h"
#include "ops/common.h"
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
    args.threshold = context.dense ? q.zero_threshold.data() : q.threshold.data();
    args.hold = q.hold;
    args.groups = q.groups;
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

void list_held(const Context& context, const QuantizedSpec& q, int32_t begin, int32_t end) {
    const ChangeList changes = context.changes(q);
    const int16_t* held = context.stream.held(q) + int64_t(begin) * q.width * q.channels;
    const int32_t inputs = q.channels / q.groups;
    int64_t segment = int64_t(begin) * q.width * q.groups;
    for (int32_t r = begin; r < end; ++r) {
        uint32_t at = uint32_t(r * q.row_capacity);
        for (int32_t i = 0; i < q.width * q.groups; ++i, ++segment, held += inputs) {
            changes.begin[segment] = at;
            for (int32_t c = 0; c < inputs; ++c) {
                if (!held[c]) continue;
                changes.channel[at] = uint16_t(c);
                changes.delta[at++] = held[c];
            }
            changes.count[segment] = uint16_t(at - changes.begin[segment]);
            if (changes.count[segment] & 1) {
                changes.channel[at] = 0;
                changes.delta[at++] = 0;
            }
        }
        changes.pixels.fill_row(r);
    }
}

void QuantizeStep::run(Context& context) const {
    const QuantizedSpec& q = program_.quantized[id_];
    if (context.keep_held) {
        if (q.order == Order::frames) list_held(context, q, 0, q.rows);
        return;
    }
    const TensorView x = context.tensor(q.x);
    if (q.order != Order::frames) {
        for (int32_t k = 0; k < q.rows; ++k) quantize_time_step(context, q, x, k);
        return;
    }
    const MaskView dirty = context.mask(q.x);
    if (context.dense) dirty.fill();
    if (!dirty.any()) return quantize_nothing(context, q);
    context.pool.for_rows(q.rows, grain_for(int64_t(q.width) * q.channels), [&](int32_t begin, int32_t end, int) {
        context.kernels.quantize(quantize_args(context, q, x, begin, end));
    });
}

}  // namespace mquans
