// What steps between layers share: which of their sites are active.
#pragma once

#include "mquans/sites.h"
#include "mquans/stream.h"
#include "ops/common.h"

namespace mquans {

inline void join_marks(MaskView from, MaskView to) {
    for (int64_t i = 0, n = int64_t(to.rows) * to.words(); i < n; ++i) to.bits[i] |= from.bits[i];
}

// What reads an input through its reach: all of it in a keyframe, else what moved; false when nothing did.
inline bool mark_reached(Context& context, const AxisReach& reach, CodesId x, MaskView marks) {
    if (context.snap) {
        marks.fill();
        return true;
    }
    return reach.mark(context.codes_mask(x), marks);
}

}  // namespace mquans
