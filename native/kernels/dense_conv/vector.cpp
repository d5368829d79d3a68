// Register-blocked int16 product over the touched pixels: a tile of pixels by one unit of outputs, all
// taps and inputs in pairs. The held values under a tile are looked up once for all its units, and the
// units are taken in blocks whose weights stay in the second-level cache.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int32_t max_taps = 32;             // of one window; larger kernels are taken in parts
constexpr int64_t block_bytes = 160 * 1024;  // weights of one block of units

// The held values that a tile of pixels sees through some taps, and those taps' weights.
template <class W, int PIXELS>
struct Window {
    const int16_t* held[max_taps][PIXELS];
    const W* weights[max_taps];
    int32_t taps = 0;
};

template <class W, int PIXELS, bool HALF>
MQ_FORCE void unit(const Window<W, PIXELS>& window, int32_t inputs, int64_t stride, int32_t out0,
                   int32_t* const* out, bool first) {
    constexpr int registers = HALF ? 1 : 2;
    I32 acc[PIXELS][registers];
    for (int j = 0; j < PIXELS; ++j)
        for (int k = 0; k < registers; ++k)
            acc[j][k] = first ? zero32() : load32(out[j] + out0 + k * lanes);
    for (int32_t t = 0; t < window.taps; ++t) {
        const W* w = window.weights[t] + out0;
        const int16_t* q[PIXELS];
        for (int j = 0; j < PIXELS; ++j) q[j] = window.held[t][j];
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
    for (int j = 0; j < PIXELS; ++j)
        for (int k = 0; k < registers; ++k) store32(out[j] + out0 + k * lanes, acc[j][k]);
}

// Units [unit0, unit1) of a group; the last one of the group may be a half.
struct Block {
    int32_t group, unit0, unit1;
    bool half;
};

template <class W, int PIXELS>
MQ_FORCE void apply(const DenseArgs& a, const Block& b, Window<W, PIXELS>& window, int32_t* const* out,
                    bool first) {
    const int32_t inputs = a.shape->group_in();
    const int64_t stride = a.weights.row_stride;
    for (int32_t u = b.unit0; u < b.unit1; ++u)
        unit<W, PIXELS, false>(window, inputs, stride, u * 2 * lanes, out, first);
    if (b.half) unit<W, PIXELS, true>(window, inputs, stride, b.unit1 * 2 * lanes, out, first);
    window.taps = 0;
}

template <class W, int PIXELS>
void tile(const DenseArgs& a, const Block& b, int32_t r, const int32_t* xs) {
    const LayerShape& s = *a.shape;
    const int32_t channels = s.in_channels, col_taps = s.col_taps;
    const int64_t tap_size = int64_t(a.weights.tap_rows) * a.weights.row_stride;
    const W* weights = static_cast<const W*>(a.weights.data) +
                       int64_t(b.group) * s.row_taps * col_taps * tap_size;
    const int16_t* held = a.held + int64_t(b.group) * s.group_in();
    int32_t* out[PIXELS];
    for (int j = 0; j < PIXELS; ++j)
        out[j] = a.acc.data + (int64_t(r) * s.out_width + xs[j]) * a.acc.pixel_stride +
                 int64_t(b.group) * a.acc.group_stride;
    Window<W, PIXELS> window;
    bool first = true;
    for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i) {
        const Tap rt = s.rows.taps[i];
        const int16_t* line = held + int64_t(rt.input) * s.in_width * channels;
        for (int32_t ct = 0; ct < col_taps; ++ct) {
            bool inside = false;
            for (int j = 0; j < PIXELS; ++j) {
                const int32_t col = s.cols.grid[int64_t(xs[j]) * col_taps + ct];
                inside |= col >= 0;
                window.held[window.taps][j] = col < 0 ? a.zeros : line + int64_t(col) * channels;
            }
            if (!inside) continue;
            window.weights[window.taps] = weights + (int64_t(rt.tap) * col_taps + ct) * tap_size;
            if (++window.taps == max_taps) {
                apply(a, b, window, out, first);
                first = false;
            }
        }
    }
    if (window.taps || first) apply(a, b, window, out, first);
}

template <class W>
void block(const DenseArgs& a, const Block& b) {
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        int32_t xs[dense_tile];
        int n = 0;
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            xs[n++] = x;
            if (n == dense_tile) {
                tile<W, dense_tile>(a, b, r, xs);
                n = 0;
            }
        });
        const int32_t* rest = xs;
        for (; n >= 4; n -= 4, rest += 4) tile<W, 4>(a, b, r, rest);
        for (; n >= 2; n -= 2, rest += 2) tile<W, 2>(a, b, r, rest);
        if (n) tile<W, 1>(a, b, r, rest);
    }
}

template <class W>
void run(const DenseArgs& a) {
    const LayerShape& s = *a.shape;
    const int32_t full = full_units(s.group_out());
    const bool half = half_units(s.group_out());
    const int64_t unit_bytes = int64_t(s.row_taps) * s.col_taps * s.group_in() * 2 * lanes * sizeof(W);
    const int32_t units = unit_bytes < block_bytes ? int32_t(block_bytes / unit_bytes) : 1;
    for (int32_t g = 0; g < s.groups; ++g)
        for (int32_t u = 0; u == 0 || u < full; u += units) {
            const int32_t end = u + units < full ? u + units : full;
            block<W>(a, {g, u, end, half && end == full});
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
