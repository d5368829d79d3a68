// Depthwise rows of which much is touched, one or two vectors of channels at a time: kernel rows are taken
// in pairs, whose input lines are interleaved once, with zeros for padding, and then serve all columns of
// the kernel and the output rows below while they are in the first-level cache.
#pragma once

#include <type_traits>

#include "kernels/simd/lanes.h"
#include "mquans/kernels.h"

namespace mquans::MQ_ISA {

class PairedLines {
public:
    MQ_INLINE explicit PairedLines(const DenseArgs& a)
        : a_(a), s_(*a.shape), room_(s_), pairs_((s_.row_taps + 1) / 2),
          usable_(a.room && room_.size > 0) {
        // Vectors that straddle two cache lines would cost twice.
        if (usable_) weights_ = a.room + (-reinterpret_cast<uintptr_t>(a.room) & 63) / sizeof(int16_t);
    }

    // Whether a row has outputs enough to pay for its lines.
    MQ_INLINE bool takes(int32_t r) const {
        if (!usable_) return false;
        const uint64_t* touched = a_.touched.row(r);
        int64_t pixels = 0;
        for (int32_t i = 0; i < a_.touched.words(); ++i) pixels += __builtin_popcountll(touched[i]);
        return pixels * s_.row_taps * s_.col_taps >= 7 * s_.in_width;
    }

    // The touched outputs of all rows that it takes.
    MQ_INLINE void run() {
        if (!usable_) return;
        int32_t c = 0;
        for (; c + lanes < s_.in_channels; c += 2 * lanes) rows_of<2>(c);
        if (c < s_.in_channels) rows_of<1>(c);
    }

private:
    static constexpr int max_pairs = (DepthwiseRoom::max_rows + 1) / 2;

    // Two input rows, interleaved; -1: zeros. `row`: the output row that read it last.
    struct Slot {
        int32_t first, second, row;
    };

    // Of one output row: where its lines and their weights lie.
    struct Row {
        int32_t pairs = 0;
        const int16_t* lines[max_pairs];
        const int16_t* weights[max_pairs];
    };

    template <int BLOCKS>
    MQ_INLINE void rows_of(int32_t c) {
        pack<BLOCKS>(c);
        for (Slot& slot : slots_) slot = {-1, -1, -1};
        for (int32_t r = a_.row_begin; r < a_.row_end; ++r) {
            if (!takes(r)) continue;
            Row row;
            for (int32_t p = 0; p < pairs_; ++p) {
                const int32_t* inputs = s_.rows.grid + int64_t(r) * s_.row_taps + 2 * p;
                const bool last = 2 * p + 1 == s_.row_taps;
                if (inputs[0] < 0 && (last || inputs[1] < 0)) continue;
                // Below the last row anything may lie; best what the next output row needs.
                const int32_t below = p && inputs[-1] >= 0 ? 2 * inputs[0] - inputs[-1] : -1;
                const int32_t second = !last ? inputs[1] : below < s_.in_rows ? below : -1;
                row.lines[row.pairs] = line<BLOCKS>(c, inputs[0], second, !last, r);
                row.weights[row.pairs++] = weights_ + int64_t(p) * s_.col_taps * width<BLOCKS>();
            }
            s_.cols.stride == 1 ? tiles<BLOCKS, 1>(row, r, c) : tiles<BLOCKS, 2>(row, r, c);
        }
    }

    // Elements of a column of a line, and of a tap of the packed weights.
    template <int BLOCKS>
    static constexpr int32_t width() {
        return BLOCKS * 2 * lanes;
    }

    // Values of two rows in pairs, channel by channel.
    template <int BLOCKS>
    static MQ_INLINE void interleave(const int16_t* upper, const int16_t* lower, int16_t* to) {
        if (BLOCKS == 2) {
            const I16 u = load_full(upper), l = load_full(lower);
            I32 front = low(u, l), back = high(u, l);
            natural(front, back);
            std::memcpy(to, &front, sizeof(front));
            std::memcpy(to + 2 * lanes, &back, sizeof(back));
        } else {
            const I16 both = natural_pairs(upper, lower);
            std::memcpy(to, &both, sizeof(both));
        }
    }

    template <int BLOCKS>
    MQ_INLINE void pack(int32_t c) {
        const int16_t* natural = static_cast<const int16_t*>(a_.weights.data) + c;
        int16_t* to = weights_;
        for (int32_t p = 0; p < pairs_; ++p)
            for (int32_t ct = 0; ct < s_.col_taps; ++ct, to += width<BLOCKS>()) {
                // The row behind the last tap is zero.
                const int32_t upper = 2 * p * s_.col_taps + ct;
                const int32_t lower = 2 * p + 1 < s_.row_taps ? upper + s_.col_taps : s_.row_taps * s_.col_taps;
                interleave<BLOCKS>(natural + int64_t(upper) * a_.weights.row_stride,
                                   natural + int64_t(lower) * a_.weights.row_stride, to);
            }
        lines_ = to;
    }

    template <int BLOCKS>
    MQ_INLINE const int16_t* line(int32_t c, int32_t first, int32_t second, bool exactly, int32_t r) {
        const int32_t slots = s_.row_taps + 1;
        const int64_t size = int64_t(room_.columns) * width<BLOCKS>();
        for (int32_t i = 0; i < slots; ++i)
            if (slots_[i].row >= 0 && slots_[i].first == first && (!exactly || slots_[i].second == second)) {
                slots_[i].row = r;
                return lines_ + i * size;
            }
        while (slots_[next_].row == r) next_ = (next_ + 1) % slots;
        const int32_t i = next_;
        next_ = (next_ + 1) % slots;
        slots_[i] = {first, second, r};
        int16_t* to = lines_ + i * size;
        const int64_t channels = s_.in_channels;
        const auto row_of = [&](int32_t input) {
            return input < 0 ? a_.zeros : a_.held + int64_t(input) * s_.in_width * channels + c;
        };
        const auto fill = [&](int32_t columns, const int16_t* upper, const int16_t* lower, int64_t upper_step,
                              int64_t lower_step) {
            for (int32_t x = 0; x < columns; ++x, to += width<BLOCKS>(), upper += upper_step, lower += lower_step)
                interleave<BLOCKS>(upper, lower, to);
        };
        fill(room_.left, a_.zeros, a_.zeros, 0, 0);
        fill(s_.in_width, row_of(first), row_of(second), first < 0 ? 0 : channels, second < 0 ? 0 : channels);
        fill(room_.columns - room_.left - s_.in_width, a_.zeros, a_.zeros, 0, 0);
        return lines_ + i * size;
    }

    template <int BLOCKS, int STRIDE>
    MQ_INLINE void tiles(const Row& row, int32_t r, int32_t c) const {
        const int32_t shift = s_.cols.start + room_.left;
        const int64_t stride = a_.acc.pixel_stride;
        int32_t* out = a_.acc.data + int64_t(r) * s_.out_width * stride + c;
        for_each_run(a_.touched.row(r), a_.touched.width, [&](int32_t x, int32_t end) {
            const auto at = [&](auto pixels, int32_t from) {
                tile<pixels(), BLOCKS, STRIDE>(row, from * STRIDE + shift, out + from * stride, stride);
            };
            const int32_t length = end - x;
            for (; x + 6 <= end; x += 6) at(std::integral_constant<int, 6>(), x);
            // The last tile may start early and compute an output once more.
            if (end - x == 5 && length > 5) return at(std::integral_constant<int, 6>(), end - 6);
            if (end - x == 3 && length > 3) return at(std::integral_constant<int, 4>(), end - 4);
            if (end - x >= 4) {
                at(std::integral_constant<int, 4>(), x);
                x += 4;
            }
            for (; x + 2 <= end; x += 2) at(std::integral_constant<int, 2>(), x);
            if (x < end) at(std::integral_constant<int, 1>(), x);
        });
    }

    template <int PIXELS, int BLOCKS, int STRIDE>
    MQ_INLINE void tile(const Row& row, int32_t column, int32_t* out, int64_t stride) const {
        const int64_t along = int64_t(s_.cols.spacing) * width<BLOCKS>();
        const int32_t col_taps = s_.col_taps;
        I32 acc[PIXELS][BLOCKS];
        for (int j = 0; j < PIXELS; ++j)
            for (int b = 0; b < BLOCKS; ++b) acc[j][b] = zero32();
        for (int32_t p = 0; p < row.pairs; ++p) {
            const int16_t* w = row.weights[p];
            const int16_t* q = row.lines[p] + int64_t(column) * width<BLOCKS>();
            for (int32_t ct = 0; ct < col_taps; ++ct, w += width<BLOCKS>(), q += along)
                for (int b = 0; b < BLOCKS; ++b) {
                    const I16 weights = load_full(w + b * 2 * lanes);
                    for (int j = 0; j < PIXELS; ++j)
                        acc[j][b] = dot(acc[j][b], load_full(q + b * 2 * lanes + j * STRIDE * width<BLOCKS>()),
                                        weights);
                }
        }
        for (int j = 0; j < PIXELS; ++j, out += stride)
            for (int b = 0; b < BLOCKS; ++b) store32(out + b * lanes, acc[j][b]);
    }

    // Copies: what kernels write might alias the originals.
    const DenseArgs a_;
    const LayerShape s_;
    const DepthwiseRoom room_;
    const int32_t pairs_;
    const bool usable_;
    int16_t *weights_ = nullptr, *lines_ = nullptr;
    Slot slots_[DepthwiseRoom::max_rows + 1];
    int32_t next_ = 0;
};

}  // namespace mquans::MQ_ISA
