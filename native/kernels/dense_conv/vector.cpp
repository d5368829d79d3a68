// Register-blocked int16 product over the touched pixels: a tile of pixels by one unit of outputs, all
// taps and inputs in pairs. Unit by unit, so that its weights stay in the first-level cache.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

template <class W, int PIXELS, bool HALF>
MQ_FORCE void tile(const DenseArgs& a, int32_t g, int32_t out0, int32_t r, const int32_t* xs) {
    constexpr int registers = HALF ? 1 : 2;
    const LayerShape& s = *a.shape;
    const int64_t stride = a.weights.row_stride;
    const int64_t tap_size = a.weights.tap_rows * stride;
    const W* weights = static_cast<const W*>(a.weights.data) +
                       int64_t(g) * s.row_taps * s.col_taps * tap_size + out0;
    const int32_t inputs = s.group_in();
    I32 acc[PIXELS][registers];
    for (int j = 0; j < PIXELS; ++j)
        for (int k = 0; k < registers; ++k) acc[j][k] = zero32();
    for (const Tap *rt = s.rows.taps + s.rows.begin[r], *end = s.rows.taps + s.rows.begin[r + 1];
         rt < end; ++rt)
        for (int32_t ct = 0; ct < s.col_taps; ++ct) {
            const int16_t* q[PIXELS];
            bool inside = false;
            for (int j = 0; j < PIXELS; ++j) {
                const int32_t col = s.cols.grid[int64_t(xs[j]) * s.col_taps + ct];
                inside |= col >= 0;
                q[j] = col < 0 ? a.zeros
                               : a.held + (int64_t(rt->input) * s.in_width + col) * s.in_channels +
                                     int64_t(g) * inputs;
            }
            if (!inside) continue;
            const W* w = weights + (int64_t(rt->tap) * s.col_taps + ct) * tap_size;
            for (int32_t c = 0; c < inputs; c += 2, w += 2 * stride) {
                if (HALF) {
                    const I16 both = half_pairs(w, w + stride);
                    for (int j = 0; j < PIXELS; ++j) acc[j][0] = dot(acc[j][0], both, pair(q[j] + c));
                } else {
                    const I16 r0 = load_full(w), r1 = load_full(w + stride);
                    const I16 lo = low(r0, r1), hi = high(r0, r1);
                    for (int j = 0; j < PIXELS; ++j) {
                        const I16 d = pair(q[j] + c);
                        acc[j][0] = dot(acc[j][0], lo, d);
                        acc[j][registers - 1] = dot(acc[j][registers - 1], hi, d);
                    }
                }
            }
        }
    for (int j = 0; j < PIXELS; ++j) {
        int32_t* out = a.acc.data + (int64_t(r) * s.out_width + xs[j]) * a.acc.pixel_stride +
                       int64_t(g) * a.acc.group_stride + out0;
        for (int k = 0; k < registers; ++k) store32(out + k * lanes, acc[j][k]);
    }
}

template <class W, bool HALF>
void unit(const DenseArgs& a, int32_t g, int32_t out0) {
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        int32_t xs[dense_tile];
        int n = 0;
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            xs[n++] = x;
            if (n == dense_tile) {
                tile<W, dense_tile, HALF>(a, g, out0, r, xs);
                n = 0;
            }
        });
        const int32_t* rest = xs;
        for (; n >= 4; n -= 4, rest += 4) tile<W, 4, HALF>(a, g, out0, r, rest);
        for (; n >= 2; n -= 2, rest += 2) tile<W, 2, HALF>(a, g, out0, r, rest);
        if (n) tile<W, 1, HALF>(a, g, out0, r, rest);
    }
}

template <class W>
void run(const DenseArgs& a) {
    const int32_t full = full_units(a.shape->group_out());
    for (int32_t g = 0; g < a.shape->groups; ++g) {
        for (int32_t u = 0; u < full; ++u) unit<W, false>(a, g, u * 2 * lanes);
        if (half_units(a.shape->group_out())) unit<W, true>(a, g, full * 2 * lanes);
    }
}

// Stored position of output o inside a full unit, such that unpacking two rows yields natural order.
MQ_FORCE int32_t stored(int32_t o, int32_t unit) {
    const int32_t half = unit / 2;
    const int32_t quarter = o % half / 4;
    return quarter * 8 + (o / half) * 4 + o % 4;
}

template <class W>
MQ_FORCE void permute(const W* natural, W* packed, int32_t outputs) {
    const int32_t full = full_units(outputs);
    for (int32_t o = 0; o < full * 2 * lanes; ++o)
        packed[o - o % (2 * lanes) + stored(o % (2 * lanes), 2 * lanes)] = natural[o];
    const int32_t base = full * 2 * lanes;
    if (half_units(outputs))
        for (int32_t o = 0; o < lanes; ++o) {
            // A half unit of 8 unpacks from one 128-bit register; of 16 from two.
            const int32_t at = lanes == 8 ? o : stored(o, lanes);
            packed[base + at] = natural[base + o];
        }
}

}  // namespace

void dense_conv(const DenseArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

void permute_row8(const int8_t* natural, int8_t* packed, int32_t outputs) {
    permute(natural, packed, outputs);
}

void permute_row16(const int16_t* natural, int16_t* packed, int32_t outputs) {
    permute(natural, packed, outputs);
}

}  // namespace mquans::MQ_ISA
