// The oracle of dense convolution: acc = W @ q, one product at a time.
#include "kernels/kernels_isa.h"

namespace mquans::scalar {
namespace {

template <class W>
void run(const DenseArgs& a) {
    const LayerShape& s = *a.shape;
    const W* weights = static_cast<const W*>(a.weights.data);
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            for (int32_t g = 0; g < s.groups; ++g) {
                int32_t* acc = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride +
                               int64_t(g) * a.acc.group_stride;
                for (int32_t o = 0; o < s.group_out(); ++o) acc[o] = 0;
                for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
                    for (int32_t j = s.cols.begin[x]; j < s.cols.begin[x + 1]; ++j) {
                        const Tap rt = s.rows.taps[i], ct = s.cols.taps[j];
                        const int16_t* q = a.held +
                                           (int64_t(rt.input) * s.in_width + ct.input) * s.in_channels +
                                           g * s.group_in();
                        const int64_t first = (int64_t(g) * s.row_taps + rt.tap) * a.weights.line_rows +
                                              int64_t(ct.tap) * a.weights.tap_rows;
                        for (int32_t c = 0; c < s.group_in(); ++c) {
                            const W* w = weights + a.weights.at(first + c);
                            const int32_t step = a.weights.paired ? 2 : 1;
                            for (int32_t o = 0; o < s.group_out(); ++o)
                                acc[o] = int32_t(uint32_t(acc[o]) + uint32_t(int32_t(w[o * step]) * q[c]));
                        }
                    }
            }
        });
}

}  // namespace

void dense_conv(const DenseArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

void permute_row8(const int8_t* natural, int8_t* packed, int32_t outputs) {
    for (int32_t o = 0; o < outputs; ++o) packed[o] = natural[o];
}

void permute_row16(const int16_t* natural, int16_t* packed, int32_t outputs) {
    for (int32_t o = 0; o < outputs; ++o) packed[o] = natural[o];
}

}  // namespace mquans::scalar
