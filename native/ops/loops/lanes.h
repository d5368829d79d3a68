// Reductions of contiguous values in 16 interleaved partial results, combined as a fixed tree: the same
// bits for every register width.
#pragma once

#include <cstdint>

namespace mquans::MQ_ISA {

// Element i goes to lane i % 16 through step(lane, x[i], i); lanes meet through join.
template <class Step, class Join>
static inline float fold_lanes(const float* x, int64_t n, float start, Step step, Join join) {
    float lane[16];
    for (int l = 0; l < 16; ++l) lane[l] = start;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; ++l) lane[l] = step(lane[l], x[i + l]);
    for (int l = 0; i + l < n; ++l) lane[l] = step(lane[l], x[i + l]);
    float eight[8], four[4];
    for (int l = 0; l < 8; ++l) eight[l] = join(lane[l], lane[l + 8]);
    for (int l = 0; l < 4; ++l) four[l] = join(eight[l], eight[l + 4]);
    return join(join(four[0], four[2]), join(four[1], four[3]));
}

}  // namespace mquans::MQ_ISA
