// Depthwise convolution: every touched pixel afresh from the held values, which costs about what
// applying the changes would, and needs no lists. Taps are taken in pairs, channels in vectors.
#include <type_traits>

#include "kernels/depthwise/lines.h"
#include "kernels/kernels_isa.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int tile_pixels = 4;
constexpr int32_t step = 2 * lanes;  // channels at once
constexpr int32_t max_taps = 64;     // at once; larger kernels are taken in parts

// The taps of one output row that are taken at once: where their inputs and weights lie.
struct RowTaps {
    const int16_t* held[max_taps + 1];     // of input column 0
    const int16_t* shifted[max_taps + 1];  // the same seen from the first tap's column
    const int16_t* weights[max_taps + 1];
    int32_t column[max_taps + 1];          // column of the tap within the kernel
    int32_t count = 0;                     // even
    bool first;                            // outputs start from zero
};

// Neighbouring pixels away from the borders look the same way at shifted inputs.
struct Neighbours {
    const RowTaps& taps;
    int64_t offset, step;
    MQ_INLINE const int16_t* held(int32_t t, int j) const { return taps.shifted[t] + offset + j * step; }
};

// On padding a pixel reads zeros.
struct AtBorder {
    const int16_t* inputs[max_taps + 1];
    MQ_INLINE const int16_t* held(int32_t t, int) const { return inputs[t]; }
};

// Applies the taps to all channels of neighbouring outputs.
template <int PIXELS, class Window>
MQ_FORCE void apply(const DenseArgs& a, const RowTaps& taps, const Window& window, int32_t* out) {
    const int32_t stride = a.acc.pixel_stride, count = taps.count;
    for (int32_t c = 0, channels = a.shape->in_channels; c < channels; c += step) {
        // Accumulators are padded to 16 channels; with wider steps the upper half may lie beyond.
        const bool upper = c + lanes < stride;
        I32 acc[PIXELS][2];
        for (int j = 0; j < PIXELS; ++j) acc[j][0] = acc[j][1] = zero32();
        for (int32_t t = 0; t < count; t += 2) {
            const I16 w0 = load_full(taps.weights[t] + c), w1 = load_full(taps.weights[t + 1] + c);
            const I16 lo = low(w0, w1), hi = high(w0, w1);
            for (int j = 0; j < PIXELS; ++j) {
                const I16 q0 = load_full(window.held(t, j) + c), q1 = load_full(window.held(t + 1, j) + c);
                acc[j][0] = dot(acc[j][0], low(q0, q1), lo);
                acc[j][1] = dot(acc[j][1], high(q0, q1), hi);
            }
        }
        for (int j = 0; j < PIXELS; ++j) {
            int32_t* to = out + int64_t(j) * stride + c;
            natural(acc[j][0], acc[j][1]);
            if (!taps.first) {
                acc[j][0] = add32(acc[j][0], load32(to));
                if (upper) acc[j][1] = add32(acc[j][1], load32(to + lanes));
            }
            store32(to, acc[j][0]);
            if (upper) store32(to + lanes, acc[j][1]);
        }
    }
}

void border(const DenseArgs& a, const RowTaps& taps, int32_t x, int32_t* out) {
    const LayerShape& s = *a.shape;
    const int32_t* columns = s.cols.grid + int64_t(x) * s.col_taps;
    AtBorder window;
    for (int32_t t = 0; t < taps.count; ++t) {
        const int32_t column = columns[taps.column[t]];
        window.inputs[t] = column < 0 ? a.zeros : taps.held[t] + int64_t(column) * s.in_channels;
    }
    apply<1>(a, taps, window, out);
}

// Touched pixels [begin, end) of a row. Outputs of one row that are whole read inputs at equal steps.
void run(const DenseArgs& a, const RowTaps& taps, int32_t* row, int32_t begin, int32_t end) {
    const LayerShape& s = *a.shape;
    const int32_t* whole = s.cols.whole;
    const int64_t stride = a.acc.pixel_stride, channels = s.in_channels;
    int32_t x = begin;
    while (x < end) {
        if (whole[x] < 0) {
            border(a, taps, x, row + x * stride);
            ++x;
            continue;
        }
        const int32_t between = x + 1 < end && whole[x + 1] >= 0 ? whole[x + 1] - whole[x] : 0;
        int32_t last = x + 1;
        while (last < end && whole[last] >= 0 && whole[last] - whole[last - 1] == between) ++last;
        const auto tile = [&](auto pixels, int32_t at) {
            apply<pixels()>(a, taps, Neighbours{taps, whole[at] * channels, between * channels},
                            row + at * stride);
        };
        using Full = std::integral_constant<int, tile_pixels>;
        const int32_t length = last - x;
        if (length >= tile_pixels && taps.first) {
            for (; x + tile_pixels <= last; x += tile_pixels) tile(Full(), x);
            // The last tile starts early and computes some outputs once more.
            if (x < last) tile(Full(), last - tile_pixels);
        } else {
            for (; x + 1 < last; x += 2) tile(std::integral_constant<int, 2>(), x);
            if (x < last) tile(std::integral_constant<int, 1>(), x);
        }
        x = last;
    }
}

void rows(const DenseArgs& a, RowTaps& taps, int32_t r) {
    if (taps.count & 1) {
        const LayerShape& s = *a.shape;
        const int32_t t = taps.count++;
        taps.held[t] = taps.held[t - 1];
        taps.shifted[t] = taps.shifted[t - 1];
        taps.column[t] = taps.column[t - 1];
        taps.weights[t] = static_cast<const int16_t*>(a.weights.data) +
                          int64_t(s.row_taps) * s.col_taps * a.weights.row_stride;
    }
    int32_t* row = a.acc.data + int64_t(r) * a.shape->out_width * a.acc.pixel_stride;
    for_each_run(a.touched.row(r), a.touched.width,
                 [&](int32_t begin, int32_t end) { run(a, taps, row, begin, end); });
    taps.count = 0;
    taps.first = false;
}

}  // namespace

void depthwise(const DenseArgs& a) {
    const LayerShape& s = *a.shape;
    const int16_t* weights = static_cast<const int16_t*>(a.weights.data);
    PairedLines lines(a);
    lines.run();
    RowTaps taps;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        if (!a.touched.row_any(r) || lines.takes(r)) continue;
        taps.first = true;
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i)
            for (int32_t ct = 0; ct < s.col_taps; ++ct) {
                const Tap rt = s.rows.taps[i];
                const int16_t* line = a.held + int64_t(rt.input) * s.in_width * s.in_channels;
                const int32_t t = taps.count++;
                taps.held[t] = line;
                taps.shifted[t] = line + int64_t(ct) * s.cols.spacing * s.in_channels;
                taps.column[t] = ct;
                taps.weights[t] = weights + (int64_t(rt.tap) * s.col_taps + ct) * a.weights.row_stride;
                if (taps.count == max_taps) rows(a, taps, r);
            }
        if (taps.count || taps.first) rows(a, taps, r);
    }
}

}  // namespace mquans::MQ_ISA
