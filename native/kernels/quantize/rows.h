// The loop over dirty pixels of one group that all compare passes share.
#pragma once

#include "kernels/quantize/compare.h"

namespace mquans::MQ_ISA {

// Every variant is a function of its own: in one large function the compiler runs out of registers.
template <bool HOLD, int32_t WHOLE, class F>
static __attribute__((noinline)) void compare_rows(const QuantizeArgs& a, const F f) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const MaskView dirty = a.dirty;
    const int32_t channels = a.x.channels;
    const int64_t row_capacity = a.row_capacity;
    for (int32_t r = a.row_begin, end = a.row_end; r < end; ++r) {
        clear_row(changes, r, dirty.width);
        uint32_t at = uint32_t(r * row_capacity);
        int64_t changed_in_row = 0;
        const int64_t row_pixel = int64_t(r) * dirty.width;
        uint64_t* const pixels = changes.pixels.row(r);
        for_each_run(dirty.row(r), dirty.width, [&](int32_t first, int32_t last) {
            int16_t* held = a.held + (row_pixel + first) * channels;
            for (int32_t x = first; x < last; ++x, held += channels) {
                const int32_t count = compare_segment<HOLD, WHOLE>(
                    rule, held, 0, channels, changes.channel + at, changes.delta + at, f(row_pixel + x));
                at = close(changes, row_pixel + x, at, count);
                pixels[x >> 6] |= uint64_t(count != 0) << (x & 63);
                changed_in_row += count;
            }
        });
        a.row_changed[r] = changed_in_row;
    }
}

template <bool HOLD, class F>
MQ_FORCE void compare_by_width(const QuantizeArgs& a, F&& f) {
    const int32_t channels = a.x.channels;
    if constexpr (gathers) {
        if (channels % 64 == 0) return compare_rows<HOLD, 64>(a, f);
        if (channels % 32 == 0) return compare_rows<HOLD, 32>(a, f);
    }
    if (channels % step == 0) return compare_rows<HOLD, step>(a, f);
    compare_rows<HOLD, 0>(a, f);
}

// Calls f(pixel)(first channel, channels left) for every vector of every dirty pixel; it returns grid
// values, which are compared with what is held.
template <class F>
MQ_FORCE void compare_pixels(const QuantizeArgs& a, F&& f) {
    a.hold ? compare_by_width<true>(a, f) : compare_by_width<false>(a, f);
}

}  // namespace mquans::MQ_ISA
