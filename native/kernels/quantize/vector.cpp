// Quantize and compare, without branches on single values: grid, rule, compare, then the changed lanes
// are compressed in registers and stored whole, the next store overwriting the surplus.
#include "kernels/kernels_isa.h"
#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {
namespace {

// The arguments that every vector needs, kept in registers or on the stack: stores through vector types
// may alias anything and would make the compiler read them again.
struct Rule {
    const float* inverse_delta;
    const int16_t *offset, *mask, *threshold;
    float limit;
    explicit MQ_INLINE Rule(const QuantizeArgs& a)
        : inverse_delta(a.inverse_delta), offset(a.offset), mask(a.mask), threshold(a.threshold),
          limit(a.limit) {}
};

using Bits = uint32_t;

#if defined(__AVX512F__)

constexpr int step = 32;
using Delta = __m512i;

MQ_FORCE __m512i grid(const float* x, Bits valid, const float* scale, float limit) {
    const __m512 high = _mm512_set1_ps(limit), low = _mm512_set1_ps(-limit);
    __m256i part[2];
    for (int h = 0; h < 2; ++h) {
        __m512 v = _mm512_maskz_loadu_ps(__mmask16(valid >> (16 * h)), x + 16 * h);
        v = _mm512_mul_ps(v, _mm512_loadu_ps(scale + 16 * h));
        // The operand order makes a NaN become -limit, as in the oracle.
        v = _mm512_min_ps(_mm512_max_ps(v, low), high);
        part[h] = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v));
    }
    return _mm512_inserti64x4(_mm512_castsi256_si512(part[0]), part[1], 1);
}

// Compares n channels, updates held, returns the changed lanes and their deltas.
template <bool HOLD>
MQ_FORCE Bits compare(const Rule& rule, const float* x, int16_t* held, int32_t c, int32_t n,
                      Delta& delta) {
    const Bits valid = n >= step ? ~0u : (1u << n) - 1;
    __m512i q = grid(x, valid, rule.inverse_delta + c, rule.limit);
    if (!HOLD)
        q = _mm512_and_si512(_mm512_add_epi16(q, _mm512_loadu_si512(rule.offset + c)),
                             _mm512_loadu_si512(rule.mask + c));
    const __m512i old = _mm512_maskz_loadu_epi16(valid, held);
    delta = _mm512_sub_epi16(q, old);
    const Bits changed = _mm512_mask_cmpgt_epi16_mask(valid, _mm512_abs_epi16(delta),
                                                      _mm512_loadu_si512(rule.threshold + c));
    if (changed) _mm512_mask_storeu_epi16(held, changed, q);
    return changed;
}

MQ_FORCE void emit(Bits changed, Delta delta, int32_t first, uint16_t* channel, int16_t* deltas) {
    const __m512i iota = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
                                          16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i index = _mm512_add_epi16(iota, _mm512_set1_epi16(int16_t(first)));
    _mm512_storeu_si512(channel, _mm512_maskz_compress_epi16(changed, index));
    _mm512_storeu_si512(deltas, _mm512_maskz_compress_epi16(changed, delta));
}

#else

constexpr int step = 16;
using Delta = __m256i;

// Byte shuffles that move the 16-bit lanes named by an 8-bit mask to the front.
struct Compress {
    alignas(16) uint8_t shuffle[256][16];
    constexpr Compress() : shuffle() {
        for (int m = 0; m < 256; ++m) {
            int n = 0;
            for (int b = 0; b < 8; ++b)
                if (m >> b & 1) {
                    shuffle[m][2 * n] = uint8_t(2 * b);
                    shuffle[m][2 * n + 1] = uint8_t(2 * b + 1);
                    ++n;
                }
            for (; n < 8; ++n) shuffle[m][2 * n] = shuffle[m][2 * n + 1] = 0x80;
        }
    }
};
constexpr Compress compress_table;

MQ_FORCE __m256i load(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

MQ_FORCE __m256i grid8(__m256 x, const float* scale, float limit) {
    const __m256 v = _mm256_mul_ps(x, _mm256_loadu_ps(scale));
    // The operand order makes a NaN become -limit, as in the oracle.
    const __m256 clipped = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-limit)), _mm256_set1_ps(limit));
    return _mm256_cvtps_epi32(clipped);
}

MQ_FORCE __m256 load_part(const float* x, int32_t n) {
    const __m256i iota = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_maskload_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), iota));
}

MQ_FORCE Bits changed_lanes(__m256i over) {
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(over), _mm256_extracti128_si256(over, 1));
    return Bits(_mm_movemask_epi8(bytes));
}

// Compares n channels, updates held, returns the changed lanes and their deltas.
template <bool HOLD>
MQ_FORCE Bits compare(const Rule& rule, const float* x, int16_t* held, int32_t c, int32_t n,
                      Delta& delta) {
    const float* scale = rule.inverse_delta + c;
    const bool whole = n >= step;
    const __m256 x0 = whole || n >= 8 ? _mm256_loadu_ps(x) : load_part(x, n);
    const __m256 x1 = whole ? _mm256_loadu_ps(x + 8) : load_part(x + 8, n - 8);
    const __m256i packed = _mm256_packs_epi32(grid8(x0, scale, rule.limit), grid8(x1, scale + 8, rule.limit));
    __m256i q = _mm256_permute4x64_epi64(packed, 0xD8);
    if (!HOLD) q = _mm256_and_si256(_mm256_add_epi16(q, load(rule.offset + c)), load(rule.mask + c));
    const __m256i old = load(held);
    delta = _mm256_sub_epi16(q, old);
    const __m256i over = _mm256_cmpgt_epi16(_mm256_abs_epi16(delta), load(rule.threshold + c));
    if (whole) {
        if (_mm256_testz_si256(over, over)) return 0;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(held), _mm256_blendv_epi8(old, q, over));
        return changed_lanes(over);
    }
    // The lanes beyond the last channel belong to the next pixel, perhaps to another thread's.
    Bits changed = changed_lanes(over) & ((1u << n) - 1);
    if (n >= 8) {
        const __m128i first = _mm256_castsi256_si128(_mm256_blendv_epi8(old, q, over));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(held), first);
    }
    const Bits single = n >= 8 ? changed & ~0xFFu : changed;
    if (single) {
        alignas(32) int16_t values[step];
        _mm256_store_si256(reinterpret_cast<__m256i*>(values), q);
        for (Bits b = single; b; b &= b - 1) held[__builtin_ctz(b)] = values[__builtin_ctz(b)];
    }
    return changed;
}

MQ_FORCE void emit8(uint32_t m, __m128i delta, __m128i index, uint16_t* channel, int16_t* deltas) {
    const __m128i shuffle =
        _mm_load_si128(reinterpret_cast<const __m128i*>(compress_table.shuffle[m]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(channel), _mm_shuffle_epi8(index, shuffle));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(deltas), _mm_shuffle_epi8(delta, shuffle));
}

MQ_FORCE void emit(Bits changed, Delta delta, int32_t first, uint16_t* channel, int16_t* deltas) {
    const __m128i iota = _mm_set_epi16(7, 6, 5, 4, 3, 2, 1, 0);
    const __m128i index = _mm_add_epi16(iota, _mm_set1_epi16(int16_t(first)));
    emit8(changed & 255, _mm256_castsi256_si128(delta), index, channel, deltas);
    const int n = __builtin_popcount(changed & 255);
    emit8(changed >> 8, _mm256_extracti128_si256(delta, 1), _mm_add_epi16(index, _mm_set1_epi16(8)),
          channel + n, deltas + n);
}

#endif

template <bool LIST, bool HOLD>
void wide(const QuantizeArgs& a, int32_t r) {
    const Rule rule(a);
    const ChangeList changes = a.changes;
    const TensorView view = a.x;
    const int32_t channels = view.channels, groups = a.groups, group = channels / groups;
    int16_t* const all_held = a.held;
    uint32_t at = uint32_t(r * a.row_capacity);
    int64_t changed_in_row = 0;
    const int64_t row_pixel = int64_t(r) * view.width;
    uint64_t* pixels = changes.pixels.row(r);
    for_each_pixel(a.dirty.row(r), a.dirty.words(), [&](int32_t x) {
        const float* values = view.pixel(row_pixel + x);
        int16_t* held = all_held + (row_pixel + x) * channels;
        const int64_t segment = (row_pixel + x) * groups;
        int32_t total = 0;
        for (int32_t g = 0; g < groups; ++g) {
            const uint32_t begin = at;
            int32_t count = 0;
            for (int32_t i = 0; i < group; i += step) {
                const int32_t c = g * group + i;
                Delta delta;
                const Bits changed = compare<HOLD>(rule, values + c, held + c, c, group - i, delta);
                if (LIST && changed)
                    emit(changed, delta, i, changes.channel + at + count,
                         changes.delta + at + count);
                count += __builtin_popcount(changed);
            }
            if (LIST) {
                changes.channel[at + count] = 0;
                changes.delta[at + count] = 0;
                at += uint32_t(count + (count & 1));
                changes.begin[segment + g] = begin;
            }
            changes.count[segment + g] = uint16_t(count);
            total += count;
        }
        pixels[x >> 6] |= uint64_t(total != 0) << (x & 63);
        changed_in_row += total;
    });
    a.row_changed[r] = changed_in_row;
}

// A camera image has 1 or 3 channels: a vector then spans several pixels. Runs of dirty pixels are
// compared as one array; the few changes are listed one by one. The tables repeat every `channels`.
template <bool LIST, bool HOLD>
void narrow(const QuantizeArgs& a, int32_t r) {
    const Rule rule(a);
    const int32_t channels = a.x.channels;
    uint32_t at = uint32_t(r * a.row_capacity);
    int64_t changed_in_row = 0;
    const int64_t row_pixel = int64_t(r) * a.x.width;
    uint64_t* pixels = a.changes.pixels.row(r);
    for_each_run(a.dirty.row(r), a.x.width, [&](int32_t first, int32_t last) {
        const float* values = a.x.pixel(row_pixel + first);
        int16_t* held = a.held + (row_pixel + first) * channels;
        const int32_t n = (last - first) * channels;
        int32_t open = -1;  // pixel whose list is being written
        uint32_t begin = at;
        auto close = [&] {
            if (open < 0) return;
            a.changes.count[row_pixel + open] = uint16_t(at - begin);
            a.changes.begin[row_pixel + open] = begin;
            pixels[open >> 6] |= uint64_t(1) << (open & 63);
            changed_in_row += at - begin;
            if (!LIST) {
                at = begin;
            } else if ((at - begin) & 1) {
                a.changes.channel[at] = 0;
                a.changes.delta[at++] = 0;
            }
        };
        for (int32_t i = 0; i < n; i += step) {
            Delta delta;
            const Bits changed = compare<HOLD>(rule, values + i, held + i, i % channels, n - i, delta);
            if (!changed) continue;
            alignas(64) int16_t deltas[step];
            std::memcpy(deltas, &delta, sizeof(deltas));
            for (Bits b = changed; b; b &= b - 1) {
                const int32_t lane = __builtin_ctz(b);
                const int32_t x = first + (i + lane) / channels;
                if (x != open) {
                    close();
                    open = x;
                    begin = at;
                }
                if (LIST) {
                    a.changes.channel[at] = uint16_t((i + lane) % channels);
                    a.changes.delta[at] = deltas[lane];
                }
                ++at;
            }
        }
        close();
    });
    a.row_changed[r] = changed_in_row;
}

template <bool LIST, bool HOLD>
void rows(const QuantizeArgs& a) {
    const bool flat = a.groups == 1 && a.x.channels <= 8 && a.x.stride == a.x.channels;
    for (int32_t r = a.row_begin; r < a.row_end; ++r) {
        a.changes.pixels.clear_row(r);
        std::memset(a.changes.count + int64_t(r) * a.x.width * a.groups, 0,
                    sizeof(uint16_t) * a.x.width * a.groups);
        flat ? narrow<LIST, HOLD>(a, r) : wide<LIST, HOLD>(a, r);
    }
}

}  // namespace

void quantize(const QuantizeArgs& a) {
    if (a.hold)
        a.list ? rows<true, true>(a) : rows<false, true>(a);
    else
        a.list ? rows<true, false>(a) : rows<false, false>(a);
}

}  // namespace mquans::MQ_ISA
