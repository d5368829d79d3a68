// Products of whole rows by register tiles. Weights lie for single changes, row by row: a panel of them is
// brought together in pairs of rows first, and read from the first cache for all rows of held values, so
// that weights come from memory once.
#include <algorithm>

#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int32_t depth = 128;  // weight rows of a panel
constexpr int32_t width = 128;  // outputs of a panel
constexpr int32_t unit = 2 * lanes;
constexpr int few_rows = dense_tile / 3;

// Pairs of weight rows, register by register: [width / lanes][depth / 2] of `lanes` pairs.
struct Panel {
    alignas(64) int16_t pairs[depth * width];
    int32_t first, count;  // inputs

    const int16_t* part(int32_t index) const { return pairs + index * int64_t(depth * lanes); }
    void put(int32_t index, int32_t pair, I16 value) {
        store32(reinterpret_cast<int32_t*>(pairs + (index * int64_t(depth / 2) + pair) * 2 * lanes), value);
    }
};

template <class W>
void gather(Panel& panel, const W* weights, int64_t stride, int32_t full, int32_t half) {
    for (int32_t c = 0; c < panel.count; c += 2, weights += 2 * stride) {
        const W* w0 = weights;
        const W* w1 = c + 1 < panel.count ? weights + stride : weights;  // the last one meets a zero
        for (int32_t u = 0; u < full; ++u) {
            const I16 r0 = load_full(w0 + u * unit), r1 = load_full(w1 + u * unit);
            panel.put(2 * u, c / 2, low(r0, r1));
            panel.put(2 * u + 1, c / 2, high(r0, r1));
        }
        if (half) panel.put(2 * full, c / 2, half_pairs(w0 + full * unit, w1 + full * unit));
    }
}

// Where the next panel comes from.
struct Next {
    const char* at;
    int64_t step;
};

// PARTS: registers of outputs, 2 of a full unit, 1 of a half one. ASK: for the next panel.
template <int PARTS, int ROWS, bool ASK>
MQ_FORCE void tile(const SumArgs& a, const Panel& panel, int32_t index, const int16_t* held, int32_t* out, Next next) {
    const int64_t step = a.weights.row_stride;
    I32 sum[ROWS][PARTS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; ++j) sum[r][j] = panel.first ? load32(out + r * step + j * lanes) : zero32();
    const int16_t* weights = panel.part(index);
    const auto add = [&](int32_t c, auto pair_of) {
        I16 w[PARTS];
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; ++j)
            w[j] = load32(reinterpret_cast<const int32_t*>(weights + j * depth * lanes + c * lanes));
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
            const I16 x = pair_of(held + r * int64_t(a.inputs) + c);
#pragma GCC unroll 2
            for (int j = 0; j < PARTS; ++j) sum[r][j] = dot(sum[r][j], w[j], x);
        }
    };
    int32_t c = 0;
    for (; c + 2 <= panel.count; c += 2) {
        if (ASK) {
            __builtin_prefetch(next.at);
            __builtin_prefetch(next.at + next.step);
            next.at += 2 * next.step;
        }
        add(c, [](const int16_t* x) { return pair(x); });
    }
    if (c < panel.count)
        add(c, [](const int16_t* x) {
            const int16_t both[2] = {*x, 0};
            return pair(both);
        });
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
        for (int j = 0; j < PARTS; ++j) store32(out + r * step + j * lanes, sum[r][j]);
}

template <int PARTS>
void all_rows(const SumArgs& a, const Panel& panel, int32_t index, int32_t output, Next next) {
    int32_t r = 0;
    const auto rows = [&](auto first, auto other, int32_t count) {
        for (; r + count <= a.rows; r += count)
            (r ? other : first)(a, panel, index, a.held + panel.first + r * int64_t(a.inputs),
                                a.acc + output + r * int64_t(a.weights.row_stride), next);
    };
    rows(tile<PARTS, dense_tile, true>, tile<PARTS, dense_tile, false>, dense_tile);
    rows(tile<PARTS, few_rows, true>, tile<PARTS, few_rows, false>, few_rows);
    rows(tile<PARTS, 1, true>, tile<PARTS, 1, false>, 1);
}

template <class W>
void run(const SumArgs& a) {
    Panel panel;
    const int64_t stride = a.weights.row_stride;
    const int32_t full_end = full_units(a.output_end) * unit;
    for (panel.first = 0; panel.first < a.inputs; panel.first += depth) {
        panel.count = std::min(depth, a.inputs - panel.first);
        const W* weights = static_cast<const W*>(a.weights.data) + panel.first * stride;
        for (int32_t o = a.output_begin; o < a.output_end; o += width) {
            const int32_t full = std::min(width, full_end - o) / unit;
            const int32_t half = full * unit < width && half_units(a.output_end);
            gather(panel, weights + o, stride, full, half);
            const int64_t behind = o + width < a.output_end ? o + width : depth * stride + a.output_begin;
            const auto* next = reinterpret_cast<const char*>(weights + behind);
            const int64_t step = stride * int64_t(sizeof(W));
            for (int32_t u = 0; u < full; ++u)
                all_rows<2>(a, panel, 2 * u, o + u * unit, {next + u * unit * sizeof(W), step});
            if (half) all_rows<1>(a, panel, 2 * full, o + full * unit, {next, step});
        }
    }
}

}  // namespace

void held_sums(const SumArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

}  // namespace mquans::MQ_ISA
