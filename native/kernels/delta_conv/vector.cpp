// Output-stationary delta convolution: a block of outputs of one pixel stays in registers while the
// changed inputs under its taps are added, two at a time.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int max_full = 4;

template <class W, int FULL, int HALF>
void block(const DeltaArgs& a, int32_t g, int32_t out0) {
    const LayerShape& s = *a.shape;
    const ChangeList& changes = *a.changes;
    const int64_t stride = a.weights.row_stride;
    const int64_t tap_size = a.weights.tap_rows * stride;
    const W* weights = static_cast<const W*>(a.weights.data) +
                       int64_t(g) * s.row_taps * s.col_taps * tap_size + out0;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        const Tap* row_first = s.rows.taps + s.rows.begin[r];
        const Tap* row_last = s.rows.taps + s.rows.begin[r + 1];
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            int32_t* out = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride +
                           int64_t(g) * a.acc.group_stride + out0;
            I32 acc[2 * FULL + HALF];
            for (int j = 0; j < 2 * FULL + HALF; ++j) acc[j] = load32(out + j * lanes);
            const Tap* col_first = s.cols.taps + s.cols.begin[x];
            const Tap* col_last = s.cols.taps + s.cols.begin[x + 1];
            for (const Tap* rt = row_first; rt < row_last; ++rt)
                for (const Tap* ct = col_first; ct < col_last; ++ct) {
                    const int64_t segment =
                        (int64_t(rt->input) * s.in_width + ct->input) * s.groups + g;
                    const int32_t n = changes.count[segment];
                    if (!n) continue;
                    const W* base = weights + (int64_t(rt->tap) * s.col_taps + ct->tap) * tap_size;
                    const uint16_t* channel = changes.channel + changes.begin[segment];
                    const int16_t* delta = changes.delta + changes.begin[segment];
                    for (int32_t i = 0; i < n; i += 2) {
                        const I16 d = pair(delta + i);
                        const W* w0 = base + channel[i] * stride;
                        const W* w1 = base + channel[i + 1] * stride;
                        for (int j = 0; j < FULL; ++j) {
                            const I16 r0 = load_full(w0 + j * 2 * lanes);
                            const I16 r1 = load_full(w1 + j * 2 * lanes);
                            acc[2 * j] = dot(acc[2 * j], low(r0, r1), d);
                            acc[2 * j + 1] = dot(acc[2 * j + 1], high(r0, r1), d);
                        }
                        if (HALF)
                            acc[2 * FULL] = dot(
                                acc[2 * FULL],
                                half_pairs(w0 + FULL * 2 * lanes, w1 + FULL * 2 * lanes), d);
                    }
                }
            for (int j = 0; j < 2 * FULL + HALF; ++j) store32(out + j * lanes, acc[j]);
        });
    }
}

template <class W>
void run(const DeltaArgs& a) {
    const int32_t outputs = a.shape->group_out();
    const int32_t full = full_units(outputs), half = half_units(outputs);
    for (int32_t g = 0; g < a.shape->groups; ++g) {
        int32_t unit = 0;
        for (; full - unit > max_full; unit += max_full) block<W, max_full, 0>(a, g, unit * 2 * lanes);
        const int32_t out0 = unit * 2 * lanes;
        switch ((full - unit) * 2 + half) {
            case 1: block<W, 0, 1>(a, g, out0); break;
            case 2: block<W, 1, 0>(a, g, out0); break;
            case 3: block<W, 1, 1>(a, g, out0); break;
            case 4: block<W, 2, 0>(a, g, out0); break;
            case 5: block<W, 2, 1>(a, g, out0); break;
            case 6: block<W, 3, 0>(a, g, out0); break;
            case 7: block<W, 3, 1>(a, g, out0); break;
            case 8: block<W, 4, 0>(a, g, out0); break;
            case 9: block<W, 4, 1>(a, g, out0); break;
        }
    }
}

}  // namespace

void delta_conv(const DeltaArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

}  // namespace mquans::MQ_ISA
