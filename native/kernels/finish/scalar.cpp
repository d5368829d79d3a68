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

void codes(const CodesArgs& a) {
    const EpilogueArgs& e = a.from;
    const Clamp clamp(e);
    for (int32_t r = e.row_begin; r < e.row_end; ++r)
        for_each_pixel(e.touched.row(r), e.touched.words(), [&](int32_t x) {
            const int64_t p = int64_t(r) * e.touched.width + x;
            for (int32_t c = 0; c < e.group_out; ++c) {
                float v = __builtin_fmaf(float(e.acc.data[p * e.acc.pixel_stride + c]), e.scale[c], e.bias[c]);
                v = v > clamp.low ? v : clamp.low;
                v = v < clamp.high ? v : clamp.high;
                a.codes[p * e.group_out + c] = int16_t(on_grid(v * a.inverse_delta[c], -a.limit, a.limit));
            }
        });
}

void largest(const LargestArgs& l, const QuantizeArgs& a) {
    compare_rows(a, [&](int64_t p, int32_t c) {
        const int64_t r = p / a.x.width, x = p % a.x.width;
        int16_t most = INT16_MIN;
        for (int32_t i = l.row_begin[r]; i < l.row_begin[r + 1]; ++i)
            for (int32_t k = l.column_begin[x]; k < l.column_begin[x + 1]; ++k) {
                const int64_t from = int64_t(l.row_inputs[i]) * l.width + l.column_inputs[k];
                const int16_t code = l.codes[from * a.x.channels + c];
                most = code > most ? code : most;
            }
        return int32_t(most);
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
