// Register-blocked int16 product over the touched pixels: a tile of pixels by one unit of outputs, all
// taps and inputs in pairs. Units are taken in blocks whose weights stay in the second-level cache.
#include <type_traits>

#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int32_t max_taps = 16;             // at once; larger kernels are taken in parts
constexpr int64_t block_bytes = 160 * 1024;  // weights of one block of units

// An element of weights whose rows lie in pairs; rows of int8_t and int16_t lie one by one.
struct Paired {
    int16_t value;
};

template <class W>
constexpr int rows_in_one = std::is_same_v<W, Paired> ? 2 : 1;

// Two rows of a full unit as pairs.
template <class W>
MQ_FORCE void load_pairs(const W* w, int64_t stride, I16& lo, I16& hi) {
    if constexpr (rows_in_one<W> == 2) {
        lo = load_full(&w->value);
        hi = load_full(&w->value + 2 * lanes);
    } else {
        const I16 r0 = load_full(w), r1 = load_full(w + stride);
        lo = low(r0, r1);
        hi = high(r0, r1);
    }
}

template <class W>
MQ_FORCE I16 load_half_pairs(const W* w, int64_t stride) {
    if constexpr (rows_in_one<W> == 2)
        return load_full(&w->value);
    else
        return half_pairs(w, w + stride);
}

// Units [unit0, unit1) of a group; the last one of the group may be a half.
struct Block {
    int32_t group, unit0, unit1;
    bool half;
};

// The taps of one output row that are taken at once: where their inputs and weights lie. Of a tap,
// `inputs` lie in one piece; kernel lines of few channels count as one tap.
template <class W>
struct RowTaps {
    const int16_t* held[max_taps];     // of input column 0
    const int16_t* shifted[max_taps];  // the same seen from the first tap's column
    const W* weights[max_taps];
    int32_t column[max_taps];       // column of the tap within the kernel
    int32_t count = 0, inputs;
    bool first;                     // outputs start from zero
};

// What a tile of pixels sees: away from the borders all pixels look the same way at shifted inputs.
template <class W, int PIXELS>
struct Shifted {
    const RowTaps<W>& taps;
    int64_t offset[PIXELS];
    MQ_INLINE int32_t count() const { return taps.count; }
    MQ_INLINE const W* weights(int32_t t) const { return taps.weights[t]; }
    MQ_INLINE const int16_t* held(int32_t t, int j) const { return taps.shifted[t] + offset[j]; }
};

// Anywhere else every pixel is looked up tap by tap; on padding it reads zeros.
template <class W, int PIXELS>
struct Scattered {
    const int16_t* inputs[max_taps][PIXELS];
    const W* rows[max_taps];
    int32_t taps = 0;
    MQ_INLINE int32_t count() const { return taps; }
    MQ_INLINE const W* weights(int32_t t) const { return rows[t]; }
    MQ_INLINE const int16_t* held(int32_t t, int j) const { return inputs[t][j]; }
};

template <class W, int PIXELS, bool HALF, class Window>
MQ_FORCE void unit(const Window& window, int32_t inputs, int64_t stride, int32_t out0, int32_t* const* out,
                   bool first) {
    constexpr int registers = HALF ? 1 : 2;
    I32 acc[PIXELS][registers];
    for (int j = 0; j < PIXELS; ++j)
        for (int k = 0; k < registers; ++k)
            acc[j][k] = first ? zero32() : load32(out[j] + out0 + k * lanes);
    for (int32_t t = 0, count = window.count(); t < count; ++t) {
        const W* w = window.weights(t) + rows_in_one<W> * out0;
        const int16_t* q[PIXELS];
        for (int j = 0; j < PIXELS; ++j) q[j] = window.held(t, j);
        for (int32_t c = 0; c < inputs; c += 2, w += 2 * stride) {
            if (HALF) {
                const I16 both = load_half_pairs(w, stride);
                for (int j = 0; j < PIXELS; ++j) acc[j][0] = dot(acc[j][0], both, pair(q[j] + c));
            } else {
                I16 lo, hi;
                load_pairs(w, stride, lo, hi);
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

template <class W, int PIXELS, class Window>
MQ_FORCE void apply(const DenseArgs& a, const Block& b, const RowTaps<W>& taps, const Window& window,
                    int32_t* const* out) {
    const int64_t stride = a.weights.row_stride;
    for (int32_t u = b.unit0; u < b.unit1; ++u)
        unit<W, PIXELS, false>(window, taps.inputs, stride, u * 2 * lanes, out, taps.first);
    if (b.half) unit<W, PIXELS, true>(window, taps.inputs, stride, b.unit1 * 2 * lanes, out, taps.first);
}

template <class W, int PIXELS>
void scattered_tile(const DenseArgs& a, const Block& b, const RowTaps<W>& taps, const int32_t* xs,
                    int32_t* const* out) {
    const LayerShape& s = *a.shape;
    const int32_t channels = s.in_channels;
    int16_t lines[max_taps][PIXELS][longest_line + 2];
    Scattered<W, PIXELS> window;
    for (int32_t t = 0; t < taps.count; ++t) {
        bool inside = false;
        for (int j = 0; j < PIXELS; ++j) {
            const int32_t* columns = s.cols.grid + int64_t(xs[j]) * s.col_taps + taps.column[t];
            const int16_t*& inputs = window.inputs[window.taps][j];
            if (!a.weights.lines) {
                inside |= columns[0] >= 0;
                inputs = columns[0] < 0 ? a.zeros : taps.held[t] + int64_t(columns[0]) * channels;
                continue;
            }
            inside = true;
            int16_t* line = lines[t][j];
            for (int32_t ct = 0; ct < s.col_taps; ++ct)
                for (int32_t c = 0; c < channels; ++c)
                    line[ct * channels + c] =
                        columns[ct] < 0 ? int16_t(0) : taps.held[t][int64_t(columns[ct]) * channels + c];
            line[s.col_taps * channels] = 0;
            inputs = line;
        }
        if (inside) window.rows[window.taps++] = taps.weights[t];
    }
    apply<W, PIXELS>(a, b, taps, window, out);
}

template <class W, int PIXELS>
void tile(const DenseArgs& a, const Block& b, const RowTaps<W>& taps, int32_t* row, const int32_t* xs) {
    const LayerShape& s = *a.shape;
    int32_t* out[PIXELS];
    Shifted<W, PIXELS> window{taps, {}};
    int32_t outside = 0;
    for (int j = 0; j < PIXELS; ++j) {
        const int32_t first = s.cols.whole[xs[j]];
        outside |= first;
        window.offset[j] = int64_t(first) * s.in_channels;
        out[j] = row + int64_t(xs[j]) * a.acc.pixel_stride;
    }
    if (outside < 0) return scattered_tile<W, PIXELS>(a, b, taps, xs, out);
    apply<W, PIXELS>(a, b, taps, window, out);
}

template <class W>
void tiles(const DenseArgs& a, const Block& b, const RowTaps<W>& taps, int32_t r) {
    int32_t* row = a.acc.data + int64_t(r) * a.shape->out_width * a.acc.pixel_stride +
                   int64_t(b.group) * a.acc.group_stride;
    int32_t xs[dense_tile];
    int n = 0;
    for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
        xs[n++] = x;
        if (n == dense_tile) {
            tile<W, dense_tile>(a, b, taps, row, xs);
            n = 0;
        }
    });
    const int32_t* rest = xs;
    for (; n >= 4; n -= 4, rest += 4) tile<W, 4>(a, b, taps, row, rest);
    for (; n >= 2; n -= 2, rest += 2) tile<W, 2>(a, b, taps, row, rest);
    if (n) tile<W, 1>(a, b, taps, row, rest);
}

template <class W>
void block(const DenseArgs& a, const Block& b) {
    const LayerShape& s = *a.shape;
    const bool lines = a.weights.lines;
    const int64_t row_stride = a.weights.row_stride;
    const int64_t tap_size = a.weights.tap_rows * row_stride, line_size = a.weights.line_rows * row_stride;
    const W* weights = static_cast<const W*>(a.weights.data) + int64_t(b.group) * s.row_taps * line_size;
    const int16_t* held = a.held + int64_t(b.group) * s.group_in();
    RowTaps<W> taps;
    taps.inputs = lines ? s.col_taps * s.in_channels : s.group_in();
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        if (!a.touched.row_any(r)) continue;
        taps.first = true;
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
            for (int32_t ct = 0; ct < (lines ? 1 : s.col_taps); ++ct) {
                const Tap rt = s.rows.taps[i];
                const int16_t* line = held + int64_t(rt.input) * s.in_width * s.in_channels;
                taps.held[taps.count] = line;
                taps.shifted[taps.count] = line + int64_t(ct) * s.cols.spacing * s.in_channels;
                taps.column[taps.count] = ct;
                taps.weights[taps.count] = weights + rt.tap * line_size + ct * tap_size;
                if (++taps.count < max_taps) continue;
                tiles(a, b, taps, r);
                taps.count = 0;
                taps.first = false;
            }
        if (taps.count || taps.first) tiles(a, b, taps, r);
        taps.count = 0;
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

void dense_conv(const DenseArgs& a) {
    if (a.weights.paired) return run<Paired>(a);
    a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a);
}

void permute_row8(const int8_t* natural, int8_t* packed, int32_t outputs) {
    permute(natural, packed, outputs);
}

void permute_row16(const int16_t* natural, int16_t* packed, int32_t outputs) {
    permute(natural, packed, outputs);
}

}  // namespace mquans::MQ_ISA
