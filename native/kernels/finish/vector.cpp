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

// One vector of channels after the other for a run of pixels: scale and bias stay in registers.
void clipped(const EpilogueArgs& args, float low, float high) {
    const EpilogueArgs a = args;
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_run(a.touched.row(r), a.touched.width, [&](int32_t first, int32_t last) {
            const int64_t p = int64_t(r) * a.y.width + first;
            for (int32_t g = 0; g < a.groups; ++g)
                for (int32_t o = 0; o < a.group_out; o += step) {
                    const int32_t at = g * a.acc.group_stride + o, n = a.group_out - o;
                    const Values scale = load_values(a.scale + at, step), bias = load_values(a.bias + at, step);
                    const int32_t* acc = a.acc.data + p * a.acc.pixel_stride + at;
                    float* y = a.y.pixel(p) + g * a.group_out + o;
                    for (int32_t x = first; x < last; ++x, acc += a.acc.pixel_stride, y += a.y.stride)
                        store_values(y, clamp(affine(acc, scale, bias), low, high), n);
                }
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
