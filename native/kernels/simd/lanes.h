// The few integer vector operations that the kernels are written in, for the instruction set that this
// file is compiled for. `lanes` = int32 values per register.
//
// avx2: 16 registers, two 16-bit multiply-adds per cycle on Zen 3, one on Skylake; unpack stays inside
// 128-bit halves. avx2_vnni: the same with vpdpwssd, which multiplies and accumulates at once. avx512: 32
// registers, and vpdpwssd.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define MQ_FORCE static inline __attribute__((always_inline))

namespace mquans::MQ_ISA {

#if defined(__AVX512F__)

constexpr int lanes = 16;
constexpr int dense_tile = 12;  // pixels per register tile of the dense kernel
using I32 = __m512i;
using I16 = __m512i;

MQ_FORCE I32 load32(const int32_t* p) { return _mm512_loadu_si512(p); }
MQ_FORCE void store32(int32_t* p, I32 v) { _mm512_storeu_si512(p, v); }
MQ_FORCE I32 zero32() { return _mm512_setzero_si512(); }
MQ_FORCE I32 add32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
MQ_FORCE I32 sub32(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
MQ_FORCE I16 pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, 4);
    return _mm512_set1_epi32(both);
}
MQ_FORCE I32 dot(I32 acc, I16 a, I16 b) { return _mm512_dpwssd_epi32(acc, a, b); }
MQ_FORCE I16 low(I16 a, I16 b) { return _mm512_unpacklo_epi16(a, b); }
MQ_FORCE I16 high(I16 a, I16 b) { return _mm512_unpackhi_epi16(a, b); }
MQ_FORCE I16 load_full(const int16_t* p) { return _mm512_loadu_si512(p); }
MQ_FORCE I16 load_full(const int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
MQ_FORCE __m256i load_part(const int16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
MQ_FORCE __m256i load_part(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// Pairs of two half rows in one register: 16 outputs.
template <class W>
MQ_FORCE I16 half_pairs(const W* a, const W* b) {
    const __m256i x = load_part(a), y = load_part(b);
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_unpacklo_epi16(x, y)),
                              _mm256_unpackhi_epi16(x, y), 1);
}
// (low, high) pairs of two natural rows, put back into natural order of 32-bit lanes.
MQ_FORCE void natural(I32& lo, I32& hi) {
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    const I32 a = _mm512_permutex2var_epi64(lo, first, hi);
    hi = _mm512_permutex2var_epi64(lo, second, hi);
    lo = a;
}

#else

constexpr int lanes = 8;
constexpr int dense_tile = 6;
using I32 = __m256i;
using I16 = __m256i;

MQ_FORCE I32 load32(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
MQ_FORCE void store32(int32_t* p, I32 v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
MQ_FORCE I32 zero32() { return _mm256_setzero_si256(); }
MQ_FORCE I32 add32(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
MQ_FORCE I32 sub32(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }
MQ_FORCE I16 pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, 4);
    return _mm256_set1_epi32(both);
}
#if defined(__AVXVNNI__)
MQ_FORCE I32 dot(I32 acc, I16 a, I16 b) { return _mm256_dpwssd_avx_epi32(acc, a, b); }
#else
MQ_FORCE I32 dot(I32 acc, I16 a, I16 b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
#endif
MQ_FORCE I16 low(I16 a, I16 b) { return _mm256_unpacklo_epi16(a, b); }
MQ_FORCE I16 high(I16 a, I16 b) { return _mm256_unpackhi_epi16(a, b); }
MQ_FORCE I16 load_full(const int16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
MQ_FORCE I16 load_full(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
MQ_FORCE __m128i load_part(const int16_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
MQ_FORCE __m128i load_part(const int8_t* p) {
    return _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
// Pairs of two half rows in one register: 8 outputs.
template <class W>
MQ_FORCE I16 half_pairs(const W* a, const W* b) {
    const __m128i x = load_part(a), y = load_part(b);
    return _mm256_set_m128i(_mm_unpackhi_epi16(x, y), _mm_unpacklo_epi16(x, y));
}
// (low, high) pairs of two natural rows, put back into natural order of 32-bit lanes.
MQ_FORCE void natural(I32& lo, I32& hi) {
    const I32 a = _mm256_permute2x128_si256(lo, hi, 0x20);
    hi = _mm256_permute2x128_si256(lo, hi, 0x31);
    lo = a;
}

#endif

// A row of outputs is cut into full units of 2 * lanes, and one half unit where that suffices.
MQ_FORCE int32_t half_units(int32_t outputs) {
    const int32_t rest = outputs % (2 * lanes);
    return rest > 0 && rest <= lanes;
}
MQ_FORCE int32_t full_units(int32_t outputs) {
    return (outputs + 2 * lanes - 1) / (2 * lanes) - half_units(outputs);
}

}  // namespace mquans::MQ_ISA
