// From accumulators to what the next layer reads: y = f(acc * scale + bias). Plain loops, compiled once
// per instruction set; the explicit fma gives the same bits on all of them.
#include "kernels/kernels_isa.h"

namespace mquans::MQ_ISA {
namespace {

void leaky(const EpilogueArgs& args, float slope) {
    const EpilogueArgs a = args;
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.active.row(r), a.active.words(), [&](int32_t x) {
            const int64_t p = int64_t(r) * a.y.width + x;
            for (int32_t g = 0; g < a.groups; ++g) {
                const int32_t* __restrict acc = a.acc.data + p * a.acc.pixel_stride + g * a.acc.group_stride;
                const float* __restrict scale = a.scale + g * a.acc.group_stride;
                const float* __restrict bias = a.bias + g * a.acc.group_stride;
                float* __restrict out = a.y.pixel(p) + g * a.group_out;
                for (int32_t o = 0; o < a.group_out; ++o) {
                    const float v = __builtin_fmaf(float(acc[o]), scale[o], bias[o]);
                    out[o] = v >= 0.0f ? v : v * slope;
                }
            }
        });
}

// Everything that is not a comparison or two: a second pass over the pixels just written.
void activate(const EpilogueArgs& a) {
    UnaryArgs args{a.activation, a.a, a.b, nullptr, nullptr, 0};
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_run(a.active.row(r), a.y.width, [&](int32_t first, int32_t last) {
            const bool compact = a.y.stride == a.y.channels;
            args.n = compact ? int64_t(last - first) * a.y.channels : a.y.channels;
            for (int32_t x = first; x < (compact ? first + 1 : last); ++x) {
                args.x = args.y = a.y.pixel(r, x);
                unary(args);
            }
        });
}

}  // namespace

void epilogue(const EpilogueArgs& a) {
    if (a.activated && a.activation == UnaryKind::leaky_relu) return leaky(a, a.a);
    if (!a.activated || a.activation == UnaryKind::relu || a.activation == UnaryKind::clip) {
        const Clamp clamp(a);
        return clipped(a, clamp.low, clamp.high);
    }
    clipped(a, -__builtin_inff(), __builtin_inff());
    activate(a);
}

}  // namespace mquans::MQ_ISA
