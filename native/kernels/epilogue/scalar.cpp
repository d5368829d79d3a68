#include "kernels/kernels_isa.h"

namespace mquans::scalar {

void clipped(const EpilogueArgs& a, float low, float high) {
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.active.row(r), a.active.words(), [&](int32_t x) {
            const int64_t p = int64_t(r) * a.y.width + x;
            for (int32_t g = 0; g < a.groups; ++g)
                for (int32_t o = 0; o < a.group_out; ++o) {
                    const int32_t at = g * a.acc.group_stride + o;
                    float v = __builtin_fmaf(float(a.acc.data[p * a.acc.pixel_stride + at]), a.scale[at], a.bias[at]);
                    v = v > low ? v : low;
                    a.y.pixel(p)[g * a.group_out + o] = v < high ? v : high;
                }
        });
}

}  // namespace mquans::scalar
