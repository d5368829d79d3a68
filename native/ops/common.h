// What the float steps share: sizes of physical tensors, argument checks, work over marked pixels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "mquans/ops.h"
#include "mquans/padded.h"

namespace mquans {

inline int64_t product(const Dims& dims, size_t begin, size_t end) {
    int64_t total = 1;
    for (size_t i = begin; i < end; ++i) total *= dims[i];
    return total;
}

inline void require(bool holds, const std::string& message) {
    if (!holds) throw std::invalid_argument(message);
}

// Physical sizes as the engine sees them. Rank 1 has one pixel, rank 0 also one channel.
struct Extent {
    int32_t rows, width, channels;
    explicit Extent(const Dims& dims) {
        const size_t n = dims.size();
        channels = n > 0 ? dims[n - 1] : 1;
        width = n > 1 ? dims[n - 2] : 1;
        rows = n > 2 ? int32_t(product(dims, 0, n - 2)) : 1;
    }
    int64_t pixels() const { return int64_t(rows) * width; }
};

// The inputs of a step in this frame; `any`: one of them moved, or everything is to be recomputed.
struct Operands {
    std::vector<TensorView> x;
    std::vector<MaskView> moved;
    bool any;
    Operands(const Context& context, const std::vector<TensorId>& ids) : any(context.dense) {
        for (TensorId id : ids) {
            x.push_back(context.tensor(id));
            moved.push_back(context.mask(id));
            any = any || moved.back().any();
        }
    }
};

// Dims with leading 1s up to the given rank, so that width and channel axes always exist.
inline Dims padded(const Dims& dims, size_t rank) {
    Dims result(std::max(rank, dims.size()) - dims.size(), 1);
    result.insert(result.end(), dims.begin(), dims.end());
    return result;
}

// For every output row the operand row it reads when outer axes of size 1 are broadcast.
std::vector<int32_t> broadcast_rows(const Dims& operand, const Dims& result, size_t outer_axes);

inline void copy_row(MaskView from, int32_t from_row, MaskView to, int32_t to_row) {
    std::memmove(to.row(to_row), from.row(from_row), sizeof(uint64_t) * to.words());
}

inline void merge_row(MaskView from, int32_t from_row, MaskView to, int32_t to_row) {
    const uint64_t* source = from.row(from_row);
    uint64_t* target = to.row(to_row);
    for (int32_t i = 0, n = to.words(); i < n; ++i) target[i] |= source[i];
}

// What is marked in any of some rows; false where nothing is.
inline bool join_rows(MaskView mask, const int32_t* rows, int32_t count, std::vector<uint64_t>& joined) {
    const int32_t words = mask.words();
    joined.assign(words, 0);
    uint64_t any = 0;
    for (int32_t k = 0; k < count; ++k) {
        const uint64_t* source = mask.row(rows[k]);
        for (int32_t i = 0; i < words; ++i) any |= joined[i] |= source[i];
    }
    return any;
}

// Marks pixels [begin, end) of one mask row.
inline void mark_run(uint64_t* row, int32_t begin, int32_t end) {
    while (begin < end) {
        const int32_t bit = begin & 63, n = std::min(64 - bit, end - begin);
        row[begin >> 6] |= (n == 64 ? ~uint64_t(0) : (uint64_t(1) << n) - 1) << bit;
        begin += n;
    }
}

// Marks pixels [begin, end) counted through all rows.
inline void mark_pixels(MaskView mask, int64_t begin, int64_t end) {
    while (begin < end) {
        const int32_t row = int32_t(begin / mask.width), x = int32_t(begin % mask.width);
        const int32_t n = int32_t(std::min<int64_t>(mask.width - x, end - begin));
        mark_run(mask.row(row), x, x + n);
        begin += n;
    }
}

// One flag per group of pixels, set where one of them moved, or all of them if everything is computed.
template <class GroupOf>
void flag_groups(std::vector<uint8_t>& flags, int64_t groups, MaskView moved, bool everything, GroupOf group_of) {
    flags.assign(groups, everything);
    for (int32_t row = 0; !everything && row < moved.rows; ++row)
        for_each_pixel(moved.row(row), moved.words(), [&](int32_t i) {
            flags[group_of(int64_t(row) * moved.width + i)] = 1;
        });
}

// Items worth handing to another thread when one item touches `cost` floats.
inline int32_t grain_for(int64_t cost) {
    return int32_t(std::max<int64_t>(1, 16384 / std::max<int64_t>(1, cost)));
}

// Calls f(row, begin, end) for runs of marked pixels, in parallel; a run ends at a 64-pixel boundary
// at the latest. cost: floats read or written per pixel.
template <class F>
void for_marked(Context& context, MaskView mask, int64_t cost, F&& f) {
    const int32_t words = mask.words();
    const int64_t per_task = cost * std::min(mask.width, 64);
    context.pool.for_rows(mask.rows * words, grain_for(per_task), [&](int32_t begin, int32_t end) {
        for (int32_t task = begin; task < end; ++task) {
            const int32_t row = task / words, word = task % words;
            const uint64_t bits = mask.row(row)[word];
            const int32_t width = std::min(64, mask.width - word * 64);
            for_each_run(&bits, width, [&](int32_t from, int32_t to) {
                f(row, word * 64 + from, word * 64 + to);
            });
        }
    });
}

}  // namespace mquans
