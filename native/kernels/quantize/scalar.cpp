// The reference of quantize and compare: the reuse rule on one grid value, and the list it goes to.
#include "kernels/kernels_isa.h"

namespace mquans::scalar {
namespace {

// Clips and rounds a value in grid units.
int32_t on_grid(float scaled, float limit) {
    scaled = scaled > -limit ? scaled : -limit;
    scaled = scaled < limit ? scaled : limit;
    return int32_t(__builtin_rintf(scaled));
}

}  // namespace

void quantize(const QuantizeArgs& a) {
    const int32_t channels = a.x.channels, group = channels / a.groups;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        uint32_t at = uint32_t(r * a.row_capacity);
        int64_t changed = 0;
        a.changes.pixels.clear_row(r);
        for (int32_t i = 0; i < a.x.width * a.groups; ++i)
            a.changes.count[int64_t(r) * a.x.width * a.groups + i] = 0;
        for_each_pixel(a.dirty.row(r), a.dirty.words(), [&](int32_t x) {
            const int64_t p = int64_t(r) * a.x.width + x;
            const float* values = a.x.pixel(p);
            int16_t* held = a.held + p * channels;
            bool any = false;
            for (int32_t g = 0; g < a.groups; ++g) {
                const uint32_t begin = at;
                uint16_t count = 0;
                for (int32_t i = 0; i < group; ++i) {
                    const int32_t c = g * group + i;
                    const int16_t q = int16_t((on_grid(values[c] * a.inverse_delta[c], a.limit) + a.offset[c]) & a.mask[c]);
                    const int32_t delta = q - held[c];
                    if ((delta < 0 ? -delta : delta) <= a.threshold[c]) continue;
                    held[c] = q;
                    a.changes.channel[at] = uint16_t(i);
                    a.changes.delta[at++] = int16_t(delta);
                    ++count;
                }
                if (count & 1) {
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
