// The reuse rule on one grid value, and the list it goes to: what the scalar kernels share.
#pragma once

#include "mquans/kernels.h"

namespace mquans::scalar {

// Clips and rounds a value in grid units.
MQ_INLINE int32_t on_grid(float scaled, float low, float high) {
    scaled = scaled > low ? scaled : low;
    scaled = scaled < high ? scaled : high;
    return int32_t(__builtin_rintf(scaled));
}

// Compares all pixels that are marked dirty; `grid_of(pixel, channel)` gives the grid values.
template <class GridOf>
void compare_rows(const QuantizeArgs& a, GridOf&& grid_of) {
    const int32_t channels = a.x.channels, group = channels / a.groups;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        uint32_t at = uint32_t(r * a.row_capacity);
        int64_t changed = 0;
        a.changes.pixels.clear_row(r);
        for (int32_t i = 0; i < a.x.width * a.groups; ++i)
            a.changes.count[int64_t(r) * a.x.width * a.groups + i] = 0;
        for_each_pixel(a.dirty.row(r), a.dirty.words(), [&](int32_t x) {
            const int64_t p = int64_t(r) * a.x.width + x;
            int16_t* held = a.held + p * channels;
            bool any = false;
            for (int32_t g = 0; g < a.groups; ++g) {
                const uint32_t begin = at;
                uint16_t count = 0;
                for (int32_t i = 0; i < group; ++i) {
                    const int32_t c = g * group + i;
                    const int16_t q = int16_t((grid_of(p, c) + a.offset[c]) & a.mask[c]);
                    const int32_t delta = q - held[c];
                    if ((delta < 0 ? -delta : delta) <= a.threshold[c]) continue;
                    held[c] = q;
                    if (a.list) {
                        a.changes.channel[at] = uint16_t(i);
                        a.changes.delta[at++] = int16_t(delta);
                    }
                    ++count;
                }
                if (a.list && (count & 1)) {
                    a.changes.channel[at] = 0;
                    a.changes.delta[at++] = 0;
                }
                a.changes.begin[p * a.groups + g] = begin;
                a.changes.count[p * a.groups + g] = count;
                changed += count;
                any |= count > 0;
            }
            if (any) a.changes.pixels.set(r, x);
        });
        a.row_changed[r] = changed;
    }
}

}  // namespace mquans::scalar
