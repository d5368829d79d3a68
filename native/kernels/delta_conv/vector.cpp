// Output-stationary delta convolution: for every active pixel the changes under its taps are listed
// together; then block by block of outputs stays in registers while they are added, two at a time.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int max_full = 4;         // units of a block
constexpr int32_t capacity = 2048;  // changes listed together
constexpr int32_t at_once = 16;     // copied, whether there are so many or not

// Changes with the weight rows that they meet, in pairs.
struct ListedChanges {
    uint16_t row[capacity + 2 * at_once];
    int16_t delta[capacity + 2 * at_once];
    int32_t n = 0;

    MQ_INLINE void copy(const uint16_t* channels, const int16_t* deltas, uint16_t first_row) {
        const __m256i base = _mm256_set1_epi16(int16_t(first_row));
        const __m256i rows = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(channels));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + n), _mm256_add_epi16(rows, base));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(delta + n),
                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(deltas)));
    }
    // Most lists are shorter than one copy: no branch depends on their lengths.
    MQ_INLINE void add(const uint16_t* channels, const int16_t* deltas, int32_t count, uint16_t first_row) {
        int32_t rest = count + (count & 1);
        for (; rest > at_once; rest -= at_once, n += at_once, channels += at_once, deltas += at_once)
            copy(channels, deltas, first_row);
        copy(channels, deltas, first_row);
        n += rest;
    }
};

template <class W, int FULL, int HALF>
MQ_FORCE void block(const uint16_t* row, const int16_t* delta, int32_t n, const W* weights, int64_t stride,
                    int32_t* out) {
    I32 acc[2 * FULL + HALF];
    for (int j = 0; j < 2 * FULL + HALF; ++j) acc[j] = load32(out + j * lanes);
    for (int32_t i = 0; i < n; i += 2) {
        const I16 d = pair(delta + i);
        const W* w0 = weights + row[i] * stride;
        const W* w1 = weights + row[i + 1] * stride;
        for (int j = 0; j < FULL; ++j) {
            const I16 r0 = load_full(w0 + j * 2 * lanes);
            const I16 r1 = load_full(w1 + j * 2 * lanes);
            acc[2 * j] = dot(acc[2 * j], low(r0, r1), d);
            acc[2 * j + 1] = dot(acc[2 * j + 1], high(r0, r1), d);
        }
        if (HALF)
            acc[2 * FULL] = dot(acc[2 * FULL], half_pairs(w0 + FULL * 2 * lanes, w1 + FULL * 2 * lanes), d);
    }
    for (int j = 0; j < 2 * FULL + HALF; ++j) store32(out + j * lanes, acc[j]);
}

// Many outputs: their weights come from far, so a few rows at a time are read from end to end while the
// next ones are asked for, and the accumulators pass through registers once for each such batch.
constexpr int32_t many_units = 16;

template <class W, int PAIRS>
MQ_FORCE void stream_rows(const uint16_t* row, const int16_t* delta, const W* weights, int64_t stride,
                          int32_t units, int32_t* out) {
    I16 d[PAIRS];
    const W *w[2 * PAIRS], *next[2 * PAIRS];
    for (int i = 0; i < PAIRS; ++i) d[i] = pair(delta + 2 * i);
    for (int i = 0; i < 2 * PAIRS; ++i) {
        w[i] = weights + row[i] * stride;
        next[i] = weights + row[2 * PAIRS + i] * stride;
    }
    for (int32_t at = 0; at < units * 2 * lanes; at += 2 * lanes) {
        // Behind a list lies what it may: then the hint is useless, and harmless.
        if (PAIRS == 4 && at * sizeof(W) % 64 == 0)
            for (int i = 0; i < 2 * PAIRS; ++i) __builtin_prefetch(next[i] + at);
        I32 a = load32(out + at), b = load32(out + at + lanes);
        for (int i = 0; i < PAIRS; ++i) {
            const I16 r0 = load_full(w[2 * i] + at), r1 = load_full(w[2 * i + 1] + at);
            a = dot(a, low(r0, r1), d[i]);
            b = dot(b, high(r0, r1), d[i]);
        }
        store32(out + at, a);
        store32(out + at + lanes, b);
    }
}

template <class W>
void stream(const uint16_t* row, const int16_t* delta, int32_t n, const W* weights, int64_t stride,
            int32_t units, int32_t* out) {
    n += n & 1;
    int32_t i = 0;
    for (; i + 8 <= n; i += 8) stream_rows<W, 4>(row + i, delta + i, weights, stride, units, out);
    for (; i + 4 <= n; i += 4) stream_rows<W, 2>(row + i, delta + i, weights, stride, units, out);
    if (i < n) stream_rows<W, 1>(row + i, delta + i, weights, stride, units, out);
}

// REST: twice the full units of the last block, plus one for a half unit.
template <class W, int REST>
void pixel(const uint16_t* row, const int16_t* delta, int32_t n, const W* weights, int64_t stride,
           int32_t blocks, int32_t* out) {
    constexpr int width = max_full * 2 * lanes;
    for (int32_t b = 0; b < blocks; ++b)
        block<W, max_full, 0>(row, delta, n, weights + b * width, stride, out + b * width);
    block<W, REST / 2, REST % 2>(row, delta, n, weights + blocks * width, stride, out + blocks * width);
}

template <class W>
using Pixel = void (*)(const uint16_t*, const int16_t*, int32_t, const W*, int64_t, int32_t, int32_t*);

template <class W>
class Update {
public:
    explicit Update(const DeltaArgs& a)
        : stride_(a.weights.row_stride), full_(full_units(a.shape->group_out())),
          half_(half_units(a.shape->group_out())), blocks_(full_ > max_full ? (full_ - 1) / max_full : 0) {
        static constexpr Pixel<W> by_rest[] = {nullptr,     pixel<W, 1>, pixel<W, 2>, pixel<W, 3>, pixel<W, 4>,
                                               pixel<W, 5>, pixel<W, 6>, pixel<W, 7>, pixel<W, 8>, pixel<W, 9>};
        pixel_ = by_rest[(full_ - blocks_ * max_full) * 2 + half_];
    }
    MQ_INLINE void operator()(const uint16_t* row, const int16_t* delta, int32_t n, const W* weights,
                              int32_t* out) const {
        if (full_ >= many_units) {
            stream(row, delta, n, weights, stride_, full_, out);
            const int32_t done = full_ * 2 * lanes;
            if (half_) block<W, 0, 1>(row, delta, n, weights + done, stride_, out + done);
            return;
        }
        pixel_(row, delta, n, weights, stride_, blocks_, out);
    }

private:
    int64_t stride_;
    int32_t full_, half_, blocks_;
    Pixel<W> pixel_;
};

// One tap: the lists are taken as they are.
template <class W>
void pointwise(const DeltaArgs& a) {
    const LayerShape& s = *a.shape;
    const ChangeList changes = *a.changes;
    const Update<W> update(a);
    const int64_t group_size = int64_t(s.group_in()) * a.weights.row_stride;
    for (int32_t r = a.row_begin; r < a.row_end; ++r)
        for_each_pixel(a.active.row(r), a.active.words(), [&](int32_t x) {
            int32_t* out = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride;
            const int32_t row_tap = s.rows.begin[r], col_tap = s.cols.begin[x];
            if (row_tap == s.rows.begin[r + 1] || col_tap == s.cols.begin[x + 1]) return;  // on padding
            const int64_t input = int64_t(s.rows.taps[row_tap].input) * s.in_width + s.cols.taps[col_tap].input;
            for (int32_t g = 0; g < s.groups; ++g, out += a.acc.group_stride) {
                const int64_t segment = input * s.groups + g;
                const uint32_t begin = changes.begin[segment];
                if (changes.count[segment])
                    update(changes.channel + begin, changes.delta + begin, changes.count[segment],
                           static_cast<const W*>(a.weights.data) + g * group_size, out);
            }
        });
}

template <class W>
void spatial(const DeltaArgs& a) {
    const LayerShape& s = *a.shape;
    const ChangeList changes = *a.changes;
    const Update<W> update(a);
    const int64_t stride = a.weights.row_stride, rows = int64_t(s.row_taps) * s.col_taps * s.group_in();
    const int64_t group_size = rows * stride;
    // Weight rows are counted in 16 bits: from the group's first one, or else from each tap's.
    const bool far = rows > UINT16_MAX;
    ListedChanges listed;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        const Tap* row_first = s.rows.taps + s.rows.begin[r];
        const Tap* row_last = s.rows.taps + s.rows.begin[r + 1];
        for_each_pixel(a.active.row(r), a.active.words(), [&](int32_t x) {
            int32_t* out = a.acc.data + (int64_t(r) * s.out_width + x) * a.acc.pixel_stride;
            const Tap* col_first = s.cols.taps + s.cols.begin[x];
            const Tap* col_last = s.cols.taps + s.cols.begin[x + 1];
            for (int32_t g = 0; g < s.groups; ++g, out += a.acc.group_stride) {
                const W* weights = static_cast<const W*>(a.weights.data) + g * group_size;
                listed.n = 0;
                for (const Tap* rt = row_first; rt < row_last; ++rt) {
                    const int64_t line = int64_t(rt->input) * s.in_width;
                    for (const Tap* ct = col_first; ct < col_last; ++ct) {
                        const int64_t segment = (line + ct->input) * s.groups + g;
                        const int64_t first_row = (int64_t(rt->tap) * s.col_taps + ct->tap) * s.group_in();
                        const uint16_t* channels = changes.channel + changes.begin[segment];
                        const int16_t* deltas = changes.delta + changes.begin[segment];
                        const int32_t n = changes.count[segment];
                        if (far || n > capacity / 2) {
                            update(channels, deltas, n, weights + first_row * stride, out);
                            continue;
                        }
                        if (listed.n + n > capacity) {
                            update(listed.row, listed.delta, listed.n, weights, out);
                            listed.n = 0;
                        }
                        listed.add(channels, deltas, n, uint16_t(first_row));
                    }
                }
                if (listed.n) update(listed.row, listed.delta, listed.n, weights, out);
            }
        });
    }
}

template <class W>
void run(const DeltaArgs& a) {
    a.shape->row_taps * a.shape->col_taps == 1 ? pointwise<W>(a) : spatial<W>(a);
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

void delta_conv(const DeltaArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

void permute_row8(const int8_t* natural, int8_t* packed, int32_t outputs) { permute(natural, packed, outputs); }

void permute_row16(const int16_t* natural, int16_t* packed, int32_t outputs) { permute(natural, packed, outputs); }

}  // namespace mquans::MQ_ISA
