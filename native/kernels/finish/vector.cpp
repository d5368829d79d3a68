// From accumulators to the reader's grid in one pass: what is between them stays in registers.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/rows.h"

namespace mquans::MQ_ISA {

void requantize(const RequantizeArgs& e, const QuantizeArgs& a) {
    const float *const scale = e.scale, *const bias = e.bias, *const high = e.high;
    const float low = e.low;
    const Accumulators acc = e.acc;
    compare_pixels(a, [=](int64_t p, int32_t c, int32_t) {
        const Values v = affine(acc.data + p * acc.pixel_stride + c, scale + c, bias + c);
        return rounded(clamp(v, low, high + c));
    });
}

void finish(const EpilogueArgs& e, const RequantizeArgs& to_grid, const QuantizeArgs& a) {
    const float infinity = __builtin_inff();
    const bool clip = e.activated && e.activation == UnaryKind::clip;
    const float least = !e.activated ? -infinity : clip ? e.a : 0.0f;
    const float most = clip ? e.b : infinity;
    const TensorView y = e.y;
    const float *const y_scale = e.scale, *const y_bias = e.bias;
    const float *const scale = to_grid.scale, *const bias = to_grid.bias, *const high = to_grid.high;
    const float low = to_grid.low;
    const Accumulators acc = e.acc;
    compare_pixels(a, [=](int64_t p, int32_t c, int32_t n) {
        const int32_t* from = acc.data + p * acc.pixel_stride + c;
        store_values(y.pixel(p) + c, clamp(affine(from, y_scale + c, y_bias + c), least, most), n);
        return rounded(clamp(affine(from, scale + c, bias + c), low, high + c));
    });
}

}  // namespace mquans::MQ_ISA
