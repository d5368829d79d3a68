#include "mquans/stream.h"
#include "program/steps.h"

namespace mquans {

void QuantizeStep::run(Context& context) const {
    const QuantizedSpec& q = program_.quantized[id_];
    ChangeList changes = context.stream.changes(q);
    if (context.keep_held) {
        changes.pixels.clear();
        return;
    }
    const MaskView dirty = context.mask(q.x);
    if (context.snap) {
        dirty.fill();
    } else if (!dirty.any()) {
        // Counts of pixels outside `changes.pixels` are read as well: they must not be last frame's.
        if (changes.pixels.any()) {
            changes.pixels.clear();
            std::memset(changes.count, 0, sizeof(uint16_t) * q.rows * q.width * q.groups);
            std::memset(context.stream.row_changed(q), 0, sizeof(int64_t) * q.rows);
        }
        return;
    }
    changes.channel = context.list_channel + q.list_offset;
    changes.delta = context.list_delta + q.list_offset;
    QuantizeArgs args;
    args.x = context.tensor(q.x);
    args.dirty = dirty;
    args.held = context.stream.held(q);
    args.inverse_delta = q.inverse_delta.data();
    args.limit = q.limit;
    args.offset = q.offset.data();
    args.mask = q.mask.data();
    args.threshold = context.snap ? q.zero_threshold.data() : q.threshold.data();
    args.groups = q.groups;
    args.list = q.list && !context.snap;
    args.changes = changes;
    args.row_capacity = q.row_capacity;
    args.row_changed = context.stream.row_changed(q);
    const int32_t grain = 1 + 4096 / (q.width * q.channels + 1);
    context.pool.for_rows(q.rows, grain, [&](int32_t begin, int32_t end) {
        QuantizeArgs mine = args;
        mine.row_begin = begin;
        mine.row_end = end;
        context.kernels.quantize(mine);
    });
}

}  // namespace mquans
