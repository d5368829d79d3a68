// The oracles of the fused passes.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/rule.h"

namespace mquans::scalar {

void requantize(const RequantizeArgs& e, const QuantizeArgs& a) {
    compare_rows(a, [&](int64_t p, int32_t c) {
        const float sum = float(e.acc.data[p * e.acc.pixel_stride + c]);
        return on_grid(__builtin_fmaf(sum, e.scale[c], e.bias[c]), e.low, e.high[c]);
    });
}

void clipped(const EpilogueArgs& a, float low, float high) {
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
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

void finish(const EpilogueArgs& e, const RequantizeArgs& to_grid, const QuantizeArgs& a) {
    epilogue(e);
    requantize(to_grid, a);
}

}  // namespace mquans::scalar
