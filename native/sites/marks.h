// What steps share: which of their sites are active.
#pragma once

#include "mquans/sites.h"
#include "mquans/stream.h"
#include "ops/common.h"

namespace mquans {

inline void join_marks(MaskView from, MaskView to) {
    for (int64_t i = 0, n = int64_t(to.rows) * to.words(); i < n; ++i) to.bits[i] |= from.bits[i];
}

inline void copy_marks(MaskView from, MaskView to) {
    std::memcpy(to.bits, from.bits, sizeof(uint64_t) * from.rows * from.words());
}

// What reads every site at its own place.
inline void mark_same(const Context& context, MaskView moved, MaskView marks) {
    context.dense ? marks.fill() : copy_marks(moved, marks);
}

// What reads an input through its reach: all of it in a keyframe, else what moved; false when nothing did.
inline bool mark_reached(Context& context, const AxisReach& reach, CodesId x, MaskView marks) {
    if (context.dense) {
        marks.fill();
        return true;
    }
    return reach.mark(context.codes_mask(x), marks);
}

// The same of a layer, whose report begins anew.
inline bool mark_layer(Context& context, const AxisReach& reach, CodesId x, MaskView marks, SiteReport& report) {
    const MaskView moved = context.codes_mask(x);
    report = {};
    report.moved = context.dense ? int64_t(moved.rows) * moved.width : moved.count();
    return mark_reached(context, reach, x, marks);
}

}  // namespace mquans
