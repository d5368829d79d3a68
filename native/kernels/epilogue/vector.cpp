// One vector of channels after the other for a run of pixels: scale and bias stay in registers.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/compare.h"

namespace mquans::MQ_ISA {

void clipped(const EpilogueArgs& args, float low, float high) {
    const EpilogueArgs a = args;
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_run(a.active.row(r), a.active.width, [&](int32_t first, int32_t last) {
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

}  // namespace mquans::MQ_ISA
