// The oracle of depthwise convolution: each channel by itself, one product at a time.
#include "kernels/kernels_isa.h"

namespace mquans::scalar {

void depthwise(const DenseArgs& a) {
    const LayerShape& s = *a.shape;
    const int16_t* weights = static_cast<const int16_t*>(a.weights.data);
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            int32_t* acc = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride;
            for (int32_t c = 0; c < s.in_channels; ++c) {
                uint32_t sum = 0;
                for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
                    for (int32_t j = s.cols.begin[x]; j < s.cols.begin[x + 1]; ++j) {
                        const Tap rt = s.rows.taps[i], ct = s.cols.taps[j];
                        const int64_t p = int64_t(rt.input) * s.in_width + ct.input;
                        const int64_t tap = int64_t(rt.tap) * s.col_taps + ct.tap;
                        sum += uint32_t(int32_t(weights[tap * a.weights.row_stride + c]) *
                                        a.held[p * s.in_channels + c]);
                    }
                acc[c] = int32_t(sum);
            }
        });
}

}  // namespace mquans::scalar
