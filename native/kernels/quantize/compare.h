// Grid, rule, compare and list for one vector of channels, without branches on single values: the
// changed lanes are compressed in registers and stored whole, the next store overwriting the surplus.
#pragma once

#include "kernels/simd/lanes.h"
#include "mquans/kernels.h"

namespace mquans::MQ_ISA {

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
constexpr Bits every_lane = ~0u;
constexpr bool gathers = false;  // lanes are compressed by one instruction
using Delta = __m512i;
using Grid = __m512i;
using Changed = Bits;

// Float values of one vector of channels; lanes beyond the last channel hold anything.
struct Values {
    __m512 part[2];
};

MQ_FORCE Bits valid_lanes(int32_t n) { return n >= step ? ~0u : (1u << n) - 1; }

MQ_FORCE Values load_values(const float* x, int32_t n) {
    const Bits valid = valid_lanes(n);
    return {_mm512_maskz_loadu_ps(__mmask16(valid), x),
            _mm512_maskz_loadu_ps(__mmask16(valid >> 16), x + 16)};
}

MQ_FORCE void store_values(float* y, const Values& values, int32_t n) {
    const Bits valid = valid_lanes(n);
    _mm512_mask_storeu_ps(y, __mmask16(valid), values.part[0]);
    _mm512_mask_storeu_ps(y + 16, __mmask16(valid >> 16), values.part[1]);
}

// acc * scale + bias
MQ_FORCE Values affine(const int32_t* acc, const Values& scale, const Values& bias) {
    Values y;
    for (int h = 0; h < 2; ++h)
        y.part[h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(acc + 16 * h)), scale.part[h],
                                    bias.part[h]);
    return y;
}

// The operand order makes a NaN become `low`, as in the reference.
MQ_FORCE Values clamp(Values y, float low, float high) {
    for (int h = 0; h < 2; ++h)
        y.part[h] = _mm512_min_ps(_mm512_max_ps(y.part[h], _mm512_set1_ps(low)), _mm512_set1_ps(high));
    return y;
}

MQ_FORCE Values times(Values x, const float* scale) {
    for (int h = 0; h < 2; ++h) x.part[h] = _mm512_mul_ps(x.part[h], _mm512_loadu_ps(scale + 16 * h));
    return x;
}

MQ_FORCE Grid rounded(const Values& x) {
    const __m256i low = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x.part[0]));
    const __m256i high = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x.part[1]));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Compares n channels, updates held, returns the changed lanes and their deltas.
template <bool HOLD>
MQ_FORCE Changed compare(const Rule& rule, Grid q, int16_t* held, int32_t c, int32_t n, Delta& delta) {
    const Bits valid = valid_lanes(n);
    if (!HOLD)
        q = _mm512_and_si512(_mm512_add_epi16(q, _mm512_loadu_si512(rule.offset + c)),
                             _mm512_loadu_si512(rule.mask + c));
    const __m512i old = _mm512_maskz_loadu_epi16(valid, held);
    delta = _mm512_sub_epi16(q, old);
    const Bits changed = _mm512_mask_cmpgt_epi16_mask(valid, _mm512_abs_epi16(delta),
                                                      _mm512_loadu_si512(rule.threshold + c));
    _mm512_mask_storeu_epi16(held, changed, q);
    return changed;
}

MQ_FORCE Bits bits_of(Changed changed) { return changed; }
MQ_FORCE int32_t count_of(Changed changed) { return __builtin_popcount(changed); }

MQ_FORCE void emit(Bits changed, Delta delta, int32_t first, uint16_t* channel, int16_t* deltas) {
    const __m512i iota = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
                                          16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i index = _mm512_add_epi16(iota, _mm512_set1_epi16(int16_t(first)));
    _mm512_storeu_si512(channel, _mm512_maskz_compress_epi16(changed, index));
    _mm512_storeu_si512(deltas, _mm512_maskz_compress_epi16(changed, delta));
}

#else

constexpr int step = 16;
constexpr Bits every_lane = 0xFFFF;
constexpr bool gathers = true;
using Delta = __m256i;
using Grid = __m256i;
using Changed = __m256i;  // all ones in changed lanes

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

MQ_FORCE __m256 load_part(const float* x, int32_t n) {
    const __m256i iota = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_maskload_ps(x, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), iota));
}

// Float values of one vector of channels; lanes beyond the last channel hold anything.
struct Values {
    __m256 part[2];
};

MQ_FORCE Values load_values(const float* x, int32_t n) {
    return {n >= 8 ? _mm256_loadu_ps(x) : load_part(x, n),
            n >= step ? _mm256_loadu_ps(x + 8) : load_part(x + 8, n - 8)};
}

MQ_FORCE void store_part(float* y, __m256 value, int32_t n) {
    if (n >= 8) return _mm256_storeu_ps(y, value);
    // Stores under a mask are slow on many CPUs.
    float values[8];
    _mm256_storeu_ps(values, value);
    for (int32_t i = 0; i < n; ++i) y[i] = values[i];
}

MQ_FORCE void store_values(float* y, const Values& values, int32_t n) {
    if (n >= step) {
        _mm256_storeu_ps(y, values.part[0]);
        _mm256_storeu_ps(y + 8, values.part[1]);
        return;
    }
    store_part(y, values.part[0], n);
    store_part(y + 8, values.part[1], n - 8);
}

// acc * scale + bias
MQ_FORCE Values affine(const int32_t* acc, const Values& scale, const Values& bias) {
    Values y;
    for (int h = 0; h < 2; ++h) {
        const __m256i sum = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc + 8 * h));
        y.part[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale.part[h], bias.part[h]);
    }
    return y;
}

// The operand order makes a NaN become `low`, as in the reference.
MQ_FORCE Values clamp(Values y, float low, float high) {
    for (int h = 0; h < 2; ++h)
        y.part[h] = _mm256_min_ps(_mm256_max_ps(y.part[h], _mm256_set1_ps(low)), _mm256_set1_ps(high));
    return y;
}

MQ_FORCE Values times(Values x, const float* scale) {
    for (int h = 0; h < 2; ++h) x.part[h] = _mm256_mul_ps(x.part[h], _mm256_loadu_ps(scale + 8 * h));
    return x;
}

MQ_FORCE Grid rounded(const Values& x) {
    const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(x.part[0]), _mm256_cvtps_epi32(x.part[1]));
    return _mm256_permute4x64_epi64(packed, 0xD8);
}

MQ_FORCE Bits bits_of(Changed changed) {
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(changed), _mm256_extracti128_si256(changed, 1));
    return Bits(_mm_movemask_epi8(bytes));
}

MQ_FORCE int32_t count_of(Changed changed) {
    return __builtin_popcount(uint32_t(_mm256_movemask_epi8(changed))) >> 1;
}

MQ_FORCE void store_grid(int16_t* p, Grid q, int32_t n) {
    if (n >= step) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), q);
    // The lanes beyond the last channel belong to the next pixel, perhaps to another thread's.
    if (n >= 8) _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(q));
    if (n != 8) {
        alignas(32) int16_t values[step];
        _mm256_store_si256(reinterpret_cast<__m256i*>(values), q);
        for (int32_t i = n & 8; i < n; ++i) p[i] = values[i];
    }
}

// Compares n channels, updates held, returns the changed lanes and their deltas.
template <bool HOLD>
MQ_FORCE Changed compare(const Rule& rule, Grid q, int16_t* held, int32_t c, int32_t n, Delta& delta) {
    if (!HOLD) q = _mm256_and_si256(_mm256_add_epi16(q, load(rule.offset + c)), load(rule.mask + c));
    const __m256i old = load(held);
    delta = _mm256_sub_epi16(q, old);
    __m256i changed = _mm256_cmpgt_epi16(_mm256_abs_epi16(delta), load(rule.threshold + c));
    store_grid(held, _mm256_blendv_epi8(old, q, changed), n);
    if (n >= step) return changed;
    const __m256i iota = _mm256_set_epi16(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm256_and_si256(changed, _mm256_cmpgt_epi16(_mm256_set1_epi16(int16_t(n)), iota));
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

// Lists the changes of a block of channels in order; returns how many. Of a picture that moves little most
// blocks have few, which are put down one by one. Some more may be written. deltas[64] is readable.
template <int32_t CHANNELS>
MQ_FORCE int32_t put(uint64_t changed, const int16_t* deltas, int32_t first, uint16_t* channel, int16_t* delta) {
    constexpr int32_t few = CHANNELS / 16;
    const int32_t n = __builtin_popcountll(changed);
    if (n <= few) {
#pragma GCC unroll 4
        for (int32_t k = 0; k < few; ++k, changed = _blsr_u64(changed)) {
            const int32_t lane = int32_t(_tzcnt_u64(changed));
            channel[k] = uint16_t(first + lane);
            delta[k] = deltas[lane];
        }
        return n;
    }
    int32_t at = 0;
#pragma GCC unroll 4
    for (int32_t lane = 0; lane < CHANNELS; lane += step) {
        const Bits part = Bits(changed >> lane) & every_lane;
        Delta d;
        std::memcpy(&d, deltas + lane, sizeof(d));
        emit(part, d, first + lane, channel + at, delta + at);
        at += __builtin_popcount(part);
    }
    return n;
}

// Compares the channels of one segment with what is held and lists the changes; returns how many.
// f(first, left) gives grid values of channels from `first` on. Channels come in blocks of WHOLE; 0: in any
// number.
template <bool HOLD, int32_t WHOLE, class F>
MQ_FORCE int32_t compare_segment(const Rule& rule, int16_t* held, int32_t channel0, int32_t channels,
                                 uint16_t* channel, int16_t* delta, F&& f) {
    int32_t count = 0;
    Delta d;
    const auto at = [&](int32_t i, int32_t n) {
        return compare<HOLD>(rule, f(channel0 + i, n), held + i, channel0 + i, n, d);
    };
    if constexpr (WHOLE && gathers) {
        alignas(32) int16_t deltas[64 + 1];
        for (int32_t i = 0; i < channels; i += WHOLE) {
            uint64_t changed = 0;
            for (int32_t lane = 0; lane < WHOLE; lane += step) {
                changed |= uint64_t(bits_of(at(i + lane, step))) << lane;
                std::memcpy(deltas + lane, &d, sizeof(d));
            }
            count += put<WHOLE>(changed, deltas, i, channel + count, delta + count);
        }
        return count;
    }
    // Here a branch on "any changed" would be foretold wrongly too often.
    for (int32_t i = 0; i < channels; i += step) {
        const Changed changed = at(i, WHOLE ? step : channels - i);
        emit(bits_of(changed), d, i, channel + count, delta + count);
        count += count_of(changed);
    }
    return count;
}

// Pads a list to pairs and notes its segment; returns where the next list begins.
MQ_FORCE uint32_t close(const ChangeList& changes, int64_t segment, uint32_t at, int32_t count) {
    changes.count[segment] = uint16_t(count);
    changes.channel[at + count] = 0;
    changes.delta[at + count] = 0;
    changes.begin[segment] = at;
    return at + uint32_t(count + (count & 1));
}

// Before the pixels of a row are compared: nothing in it has changed.
MQ_FORCE void clear_row(const ChangeList& changes, int32_t r, int32_t segments) {
    changes.pixels.clear_row(r);
    std::memset(changes.count + int64_t(r) * segments, 0, sizeof(uint16_t) * segments);
}

}  // namespace mquans::MQ_ISA
