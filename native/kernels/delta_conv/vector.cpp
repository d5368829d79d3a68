// Output-stationary delta convolution: for every touched pixel the lists under its taps are gathered
// once; then block by block of outputs stays in registers while the changes are added, two at a time.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int max_full = 4;   // units of a block
constexpr int max_runs = 64;  // lists gathered at once

// The changes of one input pixel and the weights of the tap it is seen through.
template <class W>
struct Run {
    const uint16_t* channel;
    const int16_t* delta;
    const W* weights;
    int32_t n;
};

template <class W, int FULL, int HALF>
MQ_FORCE void block(const Run<W>* runs, int32_t count, int64_t stride, int32_t out0, int32_t* out) {
    I32 acc[2 * FULL + HALF];
    for (int j = 0; j < 2 * FULL + HALF; ++j) acc[j] = load32(out + out0 + j * lanes);
    for (const Run<W>* run = runs; run < runs + count; ++run) {
        const W* base = run->weights + out0;
        const uint16_t* channel = run->channel;
        const int16_t* delta = run->delta;
        for (int32_t i = 0, n = run->n; i < n; i += 2) {
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
                acc[2 * FULL] = dot(acc[2 * FULL],
                                    half_pairs(w0 + FULL * 2 * lanes, w1 + FULL * 2 * lanes), d);
        }
    }
    for (int j = 0; j < 2 * FULL + HALF; ++j) store32(out + out0 + j * lanes, acc[j]);
}

// REST: twice the full units of the last block, plus one for a half unit.
template <class W, int REST>
void pixel(const Run<W>* runs, int32_t count, int64_t stride, int32_t blocks, int32_t* out) {
    for (int32_t b = 0; b < blocks; ++b)
        block<W, max_full, 0>(runs, count, stride, b * max_full * 2 * lanes, out);
    block<W, REST / 2, REST % 2>(runs, count, stride, blocks * max_full * 2 * lanes, out);
}

template <class W>
using Pixel = void (*)(const Run<W>*, int32_t, int64_t, int32_t, int32_t*);

template <class W>
void run(const DeltaArgs& a) {
    const LayerShape& s = *a.shape;
    const ChangeList changes = *a.changes;
    const int32_t full = full_units(s.group_out()), half = half_units(s.group_out());
    const int32_t blocks = full > max_full ? (full - 1) / max_full : 0;
    static constexpr Pixel<W> by_rest[] = {nullptr,     pixel<W, 1>, pixel<W, 2>, pixel<W, 3>, pixel<W, 4>,
                                           pixel<W, 5>, pixel<W, 6>, pixel<W, 7>, pixel<W, 8>, pixel<W, 9>};
    const Pixel<W> update = by_rest[(full - blocks * max_full) * 2 + half];
    const int64_t stride = a.weights.row_stride;
    const int64_t tap_size = a.weights.tap_rows * stride, line_size = a.weights.line_rows * stride;
    const int64_t group_size = s.row_taps * line_size;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        const Tap* row_first = s.rows.taps + s.rows.begin[r];
        const Tap* row_last = s.rows.taps + s.rows.begin[r + 1];
        for_each_pixel(a.touched.row(r), a.touched.words(), [&](int32_t x) {
            int32_t* out = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride;
            const Tap* col_first = s.cols.taps + s.cols.begin[x];
            const Tap* col_last = s.cols.taps + s.cols.begin[x + 1];
            for (int32_t g = 0; g < s.groups; ++g, out += a.acc.group_stride) {
                const W* weights = static_cast<const W*>(a.weights.data) + g * group_size;
                Run<W> runs[max_runs];
                int32_t count = 0;
                for (const Tap* rt = row_first; rt < row_last; ++rt)
                    for (const Tap* ct = col_first; ct < col_last; ++ct) {
                        const int64_t p = int64_t(rt->input) * s.in_width + ct->input;
                        const int64_t segment = p * s.groups + g;
                        const int32_t n = changes.count[segment];
                        if (!n) continue;
                        const uint32_t begin = changes.begin[segment];
                        runs[count++] = {changes.channel + begin, changes.delta + begin,
                                         weights + rt->tap * line_size + ct->tap * tap_size, n};
                        if (count == max_runs) {
                            update(runs, count, stride, blocks, out);
                            count = 0;
                        }
                    }
                if (count) update(runs, count, stride, blocks, out);
            }
        });
    }
}

}  // namespace

void delta_conv(const DeltaArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

}  // namespace mquans::MQ_ISA
