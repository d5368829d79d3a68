// The reference of delta convolution: every change is scattered to its outputs one product at a time.
#include "kernels/kernels_isa.h"

namespace mquans::scalar {
namespace {

template <class W>
void run(const DeltaArgs& a) {
    const LayerShape& s = *a.shape;
    const W* weights = static_cast<const W*>(a.weights.data);
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.active.row(r), a.active.words(), [&](int32_t x) {
            for (int32_t g = 0; g < s.groups; ++g) {
                int32_t* acc = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride +
                               int64_t(g) * a.acc.group_stride;
                for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
                    for (int32_t j = s.cols.begin[x]; j < s.cols.begin[x + 1]; ++j) {
                        const Tap rt = s.rows.taps[i], ct = s.cols.taps[j];
                        const int64_t segment =
                            (int64_t(rt.input) * s.in_width + ct.input) * s.groups + g;
                        const int64_t tap = (int64_t(g) * s.row_taps + rt.tap) * s.col_taps + ct.tap;
                        const uint32_t begin = a.changes->begin[segment];
                        for (uint32_t n = begin; n < begin + a.changes->count[segment]; ++n) {
                            const int64_t row = tap * s.group_in() + a.changes->channel[n];
                            const W* w = weights + row * a.weights.row_stride;
                            for (int32_t o = 0; o < s.group_out(); ++o)
                                acc[o] = int32_t(uint32_t(acc[o]) +
                                                 uint32_t(int32_t(w[o]) * a.changes->delta[n]));
                        }
                    }
            }
        });
}

}  // namespace

void delta_conv(const DeltaArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

void permute_row8(const int8_t* natural, int8_t* packed, int32_t outputs) {
    for (int32_t o = 0; o < outputs; ++o) packed[o] = natural[o];
}

void permute_row16(const int16_t* natural, int16_t* packed, int32_t outputs) {
    for (int32_t o = 0; o < outputs; ++o) packed[o] = natural[o];
}

}  // namespace mquans::scalar
