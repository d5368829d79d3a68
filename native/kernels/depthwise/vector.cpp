// Depthwise convolution: every touched pixel afresh from the held values, which costs about what
// applying the changes would, and needs no lists. Taps are taken in pairs, channels in vectors.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int tile_pixels = 4;
constexpr int32_t step = 2 * lanes;   // channels at once
constexpr int32_t max_taps = 128;     // of one tile; larger kernels are taken in parts

// The held values under the taps of a tile, in pairs of taps. Taps outside the input read zeros.
template <int PIXELS>
struct Scattered {
    static constexpr int pixels = PIXELS;
    const int16_t* held[max_taps][PIXELS];
    const int16_t* weights[max_taps];
    int32_t taps = 0;

    MQ_INLINE const int16_t* at(int32_t t, int j) const { return held[t][j]; }
    MQ_INLINE void repeat_last() {
        for (int j = 0; j < PIXELS; ++j) held[taps][j] = held[taps - 1][j];
    }
};

// The same for neighbouring pixels away from the borders: each tap moves on by one step per pixel.
struct Neighbours {
    static constexpr int pixels = tile_pixels;
    const int16_t* held[max_taps];
    const int16_t* weights[max_taps];
    int32_t taps = 0;
    int64_t step;

    MQ_INLINE const int16_t* at(int32_t t, int j) const { return held[t] + j * step; }
    MQ_INLINE void repeat_last() { held[taps] = held[taps - 1]; }
};

// Adds the window's taps to all channels of the tile's outputs; `first` starts them from zero.
template <class Window>
void apply(const DenseArgs& a, Window& window, int32_t r, const int32_t* xs, bool first) {
    constexpr int pixels = Window::pixels;
    if (window.taps & 1) {
        const LayerShape& s = *a.shape;
        const int64_t zero_row = int64_t(s.row_taps) * s.col_taps * a.weights.row_stride;
        window.repeat_last();
        window.weights[window.taps++] = static_cast<const int16_t*>(a.weights.data) + zero_row;
    }
    int32_t* out[pixels];
    for (int j = 0; j < pixels; ++j)
        out[j] = a.acc.data + (int64_t(r) * a.shape->out_width + xs[j]) * a.acc.pixel_stride;
    for (int32_t c = 0; c < a.shape->in_channels; c += step) {
        // Accumulators are padded to 16 channels; with wider steps the upper half may lie beyond.
        const bool upper = c + lanes < a.acc.pixel_stride;
        I32 acc[pixels][2];
        for (int j = 0; j < pixels; ++j) acc[j][0] = acc[j][1] = zero32();
        for (int32_t t = 0; t < window.taps; t += 2) {
            const I16 w0 = load_full(window.weights[t] + c), w1 = load_full(window.weights[t + 1] + c);
            const I16 lo = low(w0, w1), hi = high(w0, w1);
            for (int j = 0; j < pixels; ++j) {
                const I16 q0 = load_full(window.at(t, j) + c), q1 = load_full(window.at(t + 1, j) + c);
                acc[j][0] = dot(acc[j][0], low(q0, q1), lo);
                acc[j][1] = dot(acc[j][1], high(q0, q1), hi);
            }
        }
        for (int j = 0; j < pixels; ++j) {
            natural(acc[j][0], acc[j][1]);
            if (!first) {
                acc[j][0] = add32(acc[j][0], load32(out[j] + c));
                if (upper) acc[j][1] = add32(acc[j][1], load32(out[j] + c + lanes));
            }
            store32(out[j] + c, acc[j][0]);
            if (upper) store32(out[j] + c + lanes, acc[j][1]);
        }
    }
    window.taps = 0;
}

// Fills the window tap by tap with `place(t, row_of_held_values, tap_column)` and applies it.
template <class Window, class Place>
MQ_FORCE void tile(const DenseArgs& a, Window& window, int32_t r, const int32_t* xs, Place&& place) {
    const LayerShape& s = *a.shape;
    const int16_t* weights = static_cast<const int16_t*>(a.weights.data);
    bool first = true;
    for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i) {
        const Tap rt = s.rows.taps[i];
        const int16_t* line = a.held + int64_t(rt.input) * s.in_width * s.in_channels;
        for (int32_t ct = 0; ct < s.col_taps; ++ct) {
            if (window.taps == max_taps - 2) {
                apply(a, window, r, xs, first);
                first = false;
            }
            const int32_t t = window.taps++;
            window.weights[t] = weights + (int64_t(rt.tap) * s.col_taps + ct) * a.weights.row_stride;
            place(t, line, ct);
        }
    }
    apply(a, window, r, xs, first);
}

template <int PIXELS>
void scattered_tile(const DenseArgs& a, int32_t r, const int32_t* xs) {
    const LayerShape& s = *a.shape;
    Scattered<PIXELS> window;
    tile(a, window, r, xs, [&](int32_t t, const int16_t* line, int32_t ct) {
        for (int j = 0; j < PIXELS; ++j) {
            const int32_t col = s.cols.grid[int64_t(xs[j]) * s.col_taps + ct];
            window.held[t][j] = col < 0 ? a.zeros : line + int64_t(col) * s.in_channels;
        }
    });
}

// Inputs between the pixels of a tile, or 0 when they are not neighbours well inside the input.
MQ_FORCE int32_t neighbour_step(const LayerShape& s, const int32_t* xs) {
    if (xs[tile_pixels - 1] - xs[0] != tile_pixels - 1) return 0;
    const int32_t* first = s.cols.grid + int64_t(xs[0]) * s.col_taps;
    const int32_t* second = first + s.col_taps;
    const int32_t* last = first + (tile_pixels - 1) * s.col_taps;
    const int32_t step = second[0] - first[0];
    for (int32_t ct = 0; ct < s.col_taps; ++ct)
        if (first[ct] < 0 || last[ct] - first[ct] != (tile_pixels - 1) * step) return 0;
    return step;
}

void full_tile(const DenseArgs& a, int32_t r, const int32_t* xs) {
    const LayerShape& s = *a.shape;
    const int32_t between = neighbour_step(s, xs);
    if (!between) return scattered_tile<tile_pixels>(a, r, xs);
    const int32_t* first = s.cols.grid + int64_t(xs[0]) * s.col_taps;
    Neighbours window;
    window.step = int64_t(between) * s.in_channels;
    tile(a, window, r, xs, [&](int32_t t, const int16_t* line, int32_t ct) {
        window.held[t] = line + int64_t(first[ct]) * s.in_channels;
    });
}

}  // namespace

void depthwise(const DenseArgs& a) {
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        int32_t xs[tile_pixels];
        int n = 0;
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            xs[n++] = x;
            if (n == tile_pixels) {
                full_tile(a, r, xs);
                n = 0;
            }
        });
        for (int j = 0; j < n; ++j) scattered_tile<1>(a, r, xs + j);
    }
}

}  // namespace mquans::MQ_ISA
