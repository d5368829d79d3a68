#include "program/touch.h"

#include <vector>

namespace mquans {
namespace {

// Bits [at, at + 64) of a mask row; `at` may be negative or beyond the end.
uint64_t bits_from(const uint64_t* row, int32_t words, int32_t at) {
    const int32_t word = at >> 6, shift = at & 63;
    const uint64_t low = word >= 0 && word < words ? row[word] : 0;
    if (!shift) return low;
    const uint64_t high = word + 1 >= 0 && word + 1 < words ? row[word + 1] : 0;
    return low >> shift | high << (64 - shift);
}

// Every second bit, from the lowest on, moved together.
uint64_t even_bits(uint64_t x) {
    x &= 0x5555555555555555u;
    x = (x | x >> 1) & 0x3333333333333333u;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffu;
    x = (x | x >> 8) & 0x0000ffff0000ffffu;
    return (x | x >> 16) & 0x00000000ffffffffu;
}

// Outputs of one row that see a changed input through any tap, 64 at once.
void reach(const Axis& cols, int32_t taps, const uint64_t* in, int32_t in_words, int32_t outputs,
           uint64_t* out) {
    for (int32_t o = 0; o < outputs; o += 64) {
        uint64_t seen = 0;
        for (int32_t t = 0; t < taps; ++t) {
            const int32_t at = o * cols.stride + t * cols.spacing + cols.start;
            seen |= cols.stride == 1 ? bits_from(in, in_words, at)
                                     : even_bits(bits_from(in, in_words, at)) |
                                           even_bits(bits_from(in, in_words, at + 64)) << 32;
        }
        if (outputs - o < 64) seen &= (uint64_t(1) << (outputs - o)) - 1;
        out[o >> 6] = seen;
    }
}

}  // namespace

void touch(const LayerSpec& layer, MaskView changed, MaskView touched, int32_t begin, int32_t end) {
    const LayerShape& s = layer.shape;
    const int32_t words = changed.words();
    std::vector<uint64_t> line(words);  // changed pixels of all input rows that one output row reads
    for (int32_t r = begin; r < end; ++r) {
        uint64_t* out = touched.row(r);
        uint64_t* merged = layer.cols.identity ? out : line.data();
        std::memset(merged, 0, sizeof(uint64_t) * words);
        for (int32_t i = s.rows.begin[r]; i < s.rows.begin[r + 1]; ++i) {
            const uint64_t* in = changed.row(s.rows.taps[i].input);
            for (int32_t w = 0; w < words; ++w) merged[w] |= in[w];
        }
        if (layer.cols.identity) continue;
        if (layer.cols.stride) {
            reach(layer.cols, s.col_taps, merged, words, s.out_width, out);
            continue;
        }
        touched.clear_row(r);
        for_each_pixel(merged, words, [&](int32_t x) {
            for (int32_t k = s.cols.reach_begin[x]; k < s.cols.reach_begin[x + 1]; ++k)
                touched.set(r, s.cols.reach[k]);
        });
    }
}

}  // namespace mquans
