// Which pixels of a tensor moved in this frame: one bit per pixel, rows padded to 64-bit words.
#pragma once

#include <cstdint>
#include <cstring>

// Kernel files are compiled once per instruction set. A helper of this header that was not inlined
// would be merged by the linker across them and might run instructions that the CPU lacks.
#define MQ_INLINE inline __attribute__((always_inline))

namespace mquans {

// A view of bits [rows][words]; bit x of row r is pixel (r, x). Bits at x >= width are always zero.
struct MaskView {
    uint64_t* bits = nullptr;
    int32_t rows = 0;
    int32_t width = 0;

    MQ_INLINE static int32_t words_for(int32_t width) { return (width + 63) / 64; }
    MQ_INLINE int32_t words() const { return words_for(width); }
    MQ_INLINE uint64_t* row(int32_t r) const { return bits + int64_t(r) * words(); }
    MQ_INLINE bool get(int32_t r, int32_t x) const { return row(r)[x >> 6] >> (x & 63) & 1; }
    MQ_INLINE void set(int32_t r, int32_t x) const { row(r)[x >> 6] |= uint64_t(1) << (x & 63); }

    MQ_INLINE bool row_any(int32_t r) const {
        const uint64_t* w = row(r);
        for (int32_t i = 0, n = words(); i < n; ++i)
            if (w[i]) return true;
        return false;
    }
    MQ_INLINE bool any() const {
        for (int64_t i = 0, n = int64_t(rows) * words(); i < n; ++i)
            if (bits[i]) return true;
        return false;
    }
    MQ_INLINE int64_t count() const {
        int64_t total = 0;
        for (int64_t i = 0, n = int64_t(rows) * words(); i < n; ++i)
            if (bits[i]) total += __builtin_popcountll(bits[i]);
        return total;
    }
    MQ_INLINE void clear_row(int32_t r) const { std::memset(row(r), 0, sizeof(uint64_t) * words()); }
    MQ_INLINE void fill_row(int32_t r) const {
        uint64_t* w = row(r);
        for (int32_t i = 0, n = words(); i < n; ++i) w[i] = ~uint64_t(0);
        if (width & 63) w[words() - 1] = (uint64_t(1) << (width & 63)) - 1;
    }
    MQ_INLINE void clear() const { std::memset(bits, 0, sizeof(uint64_t) * rows * words()); }
    MQ_INLINE void fill() const {
        for (int32_t r = 0; r < rows; ++r) fill_row(r);
    }
};

// Calls f(x) for every set bit of one mask row, in ascending order.
template <class F>
MQ_INLINE void for_each_pixel(const uint64_t* row, int32_t words, F&& f) {
    for (int32_t i = 0; i < words; ++i)
        for (uint64_t w = row[i]; w; w &= w - 1) f(i * 64 + __builtin_ctzll(w));
}

// Calls f(begin, end) for every maximal run of set bits of one mask row, in ascending order.
template <class F>
MQ_INLINE void for_each_run(const uint64_t* row, int32_t width, F&& f) {
    int32_t x = 0;
    while (x < width) {
        uint64_t w = row[x >> 6] >> (x & 63);
        if (!w) {
            x = (x | 63) + 1;
            continue;
        }
        x += __builtin_ctzll(w);
        int32_t begin = x;
        while (x < width) {
            uint64_t zeros = ~(row[x >> 6] >> (x & 63));
            int32_t step = zeros ? __builtin_ctzll(zeros) : 64;
            int32_t left = 64 - (x & 63);
            if (step < left) {
                x += step;
                break;
            }
            x += left;
        }
        f(begin, x < width ? x : width);
    }
}

}  // namespace mquans
