// Operations on registers of int16 codes. `words` = codes per register.
//
// avx2: pshufb looks up bytes, sixteen entries inside each half. avx512: vpermw looks up 32 words at once.
#pragma once

#include "kernels/simd/lanes.h"

namespace mquans::MQ_ISA {

constexpr int words = 2 * lanes;

#if defined(__AVX512F__)

MQ_FORCE I16 load16(const int16_t* p) { return _mm512_loadu_si512(p); }
MQ_FORCE void store16(int16_t* p, I16 v) { _mm512_storeu_si512(p, v); }
MQ_FORCE __mmask32 first_of(int32_t count) { return (uint32_t(1) << count) - 1; }
// The first `count` codes, fewer than a register's: what follows the last channel must not be written over.
MQ_FORCE void store_first(int16_t* p, I16 v, int32_t count) { _mm512_mask_storeu_epi16(p, first_of(count), v); }
// The lower bytes of words.
MQ_FORCE void store_bytes(uint8_t* p, I16 v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi16_epi8(v));
}
MQ_FORCE I16 all16(int16_t x) { return _mm512_set1_epi16(x); }
MQ_FORCE I16 add16(I16 a, I16 b) { return _mm512_add_epi16(a, b); }
MQ_FORCE I16 adds16(I16 a, I16 b) { return _mm512_adds_epi16(a, b); }
MQ_FORCE I16 sub16(I16 a, I16 b) { return _mm512_sub_epi16(a, b); }
MQ_FORCE I16 subs16(I16 a, I16 b) { return _mm512_subs_epi16(a, b); }
MQ_FORCE I16 min16(I16 a, I16 b) { return _mm512_min_epi16(a, b); }
MQ_FORCE I16 max16(I16 a, I16 b) { return _mm512_max_epi16(a, b); }
MQ_FORCE I16 abs16(I16 a) { return _mm512_abs_epi16(a); }
MQ_FORCE I16 mulhrs16(I16 a, I16 b) { return _mm512_mulhrs_epi16(a, b); }
MQ_FORCE I16 mullo16(I16 a, I16 b) { return _mm512_mullo_epi16(a, b); }
MQ_FORCE I16 mulhi16(I16 a, I16 b) { return _mm512_mulhi_epi16(a, b); }
MQ_FORCE I16 mulhi_unsigned16(I16 a, I16 b) { return _mm512_mulhi_epu16(a, b); }
MQ_FORCE I16 adds_unsigned16(I16 a, I16 b) { return _mm512_adds_epu16(a, b); }
MQ_FORCE I32 squares(I16 a) { return _mm512_madd_epi16(a, a); }
MQ_FORCE I32 all32(int32_t x) { return _mm512_set1_epi32(x); }
MQ_FORCE I32 mullo32(I32 a, I32 b) { return _mm512_mullo_epi32(a, b); }
template <int N>
MQ_FORCE I16 shift_right16(I16 a) { return _mm512_srli_epi16(a, N); }
template <int N>
MQ_FORCE I16 shift_left16(I16 a) { return _mm512_slli_epi16(a, N); }
MQ_FORCE I16 and16(I16 a, I16 b) { return _mm512_and_si512(a, b); }
MQ_FORCE I16 negative(I16 a) { return _mm512_srai_epi16(a, 15); }
MQ_FORCE I16 xor16(I16 a, I16 b) { return _mm512_xor_si512(a, b); }
MQ_FORCE I32 shift_right(I32 a, I32 n) { return _mm512_srav_epi32(a, n); }
// By floats of these bits, rounded to nearest even.
MQ_FORCE I32 scaled(I32 a, I32 bits) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(a), _mm512_castsi512_ps(bits)));
}
// The two halves of a block in kernel order, saturated, in natural order.
MQ_FORCE I16 pack(I32 a, I32 b) { return _mm512_packs_epi32(a, b); }
// Saturated, in natural order.
MQ_FORCE void store_half(int16_t* p, I32 a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(a));
}
MQ_FORCE void store_half_clamped(int16_t* p, I32 a, const int16_t* low, const int16_t* high) {
    const __m256i codes = _mm512_cvtsepi32_epi16(a), most = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high));
    const __m256i least = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_min_epi16(_mm256_max_epi16(codes, least), most));
}
MQ_FORCE I32 unpack_low32(I32 a, I32 b) { return _mm512_unpacklo_epi32(a, b); }
MQ_FORCE I32 unpack_high32(I32 a, I32 b) { return _mm512_unpackhi_epi32(a, b); }
MQ_FORCE I32 unpack_low64(I32 a, I32 b) { return _mm512_unpacklo_epi64(a, b); }
MQ_FORCE I32 unpack_high64(I32 a, I32 b) { return _mm512_unpackhi_epi64(a, b); }
// The sum of the four quads.
MQ_FORCE __m128i add_quads(I32 a) {
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

struct Segments {
    I16 a, b, c;
    __attribute__((always_inline)) explicit Segments(const int16_t* a_, const int16_t* b_, const int16_t* c_)
        : a(load16(a_)), b(load16(b_)), c(load16(c_)) {}
    // c + f * (b + f * a) of segment |t| >> 10, t >= 0.
    __attribute__((always_inline)) I16 at(I16 t) const {
        const I16 i = shift_right16<10>(t), f = shift_left16<5>(and16(t, all16(1023)));
        const I16 slope = add16(_mm512_permutexvar_epi16(i, b), mulhrs16(f, _mm512_permutexvar_epi16(i, a)));
        return add16(_mm512_permutexvar_epi16(i, c), mulhrs16(f, slope));
    }
};

#else

MQ_FORCE I16 load16(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
MQ_FORCE void store16(int16_t* p, I16 v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
MQ_FORCE void store_first(int16_t* p, I16 v, int32_t count) {
    __m128i part = _mm256_castsi256_si128(v);
    if (count & 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), part);
        part = _mm256_extracti128_si256(v, 1);
        p += 8;
    }
    if (count & 4) {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), part);
        part = _mm_srli_si128(part, 8);
        p += 4;
    }
    if (count & 2) {
        _mm_storeu_si32(p, part);
        part = _mm_srli_si128(part, 4);
        p += 2;
    }
    if (count & 1) *p = int16_t(_mm_extract_epi16(part, 0));
}
// The lower bytes of words.
MQ_FORCE void store_bytes(uint8_t* p, I16 v) {
    const I16 low = _mm256_and_si256(v, _mm256_set1_epi16(255));
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
MQ_FORCE I16 all16(int16_t x) { return _mm256_set1_epi16(x); }
MQ_FORCE I16 add16(I16 a, I16 b) { return _mm256_add_epi16(a, b); }
MQ_FORCE I16 adds16(I16 a, I16 b) { return _mm256_adds_epi16(a, b); }
MQ_FORCE I16 sub16(I16 a, I16 b) { return _mm256_sub_epi16(a, b); }
MQ_FORCE I16 subs16(I16 a, I16 b) { return _mm256_subs_epi16(a, b); }
MQ_FORCE I16 min16(I16 a, I16 b) { return _mm256_min_epi16(a, b); }
MQ_FORCE I16 max16(I16 a, I16 b) { return _mm256_max_epi16(a, b); }
MQ_FORCE I16 abs16(I16 a) { return _mm256_abs_epi16(a); }
MQ_FORCE I16 mulhrs16(I16 a, I16 b) { return _mm256_mulhrs_epi16(a, b); }
MQ_FORCE I16 mullo16(I16 a, I16 b) { return _mm256_mullo_epi16(a, b); }
MQ_FORCE I16 mulhi16(I16 a, I16 b) { return _mm256_mulhi_epi16(a, b); }
MQ_FORCE I16 mulhi_unsigned16(I16 a, I16 b) { return _mm256_mulhi_epu16(a, b); }
MQ_FORCE I16 adds_unsigned16(I16 a, I16 b) { return _mm256_adds_epu16(a, b); }
MQ_FORCE I32 squares(I16 a) { return _mm256_madd_epi16(a, a); }
MQ_FORCE I32 all32(int32_t x) { return _mm256_set1_epi32(x); }
MQ_FORCE I32 mullo32(I32 a, I32 b) { return _mm256_mullo_epi32(a, b); }
template <int N>
MQ_FORCE I16 shift_right16(I16 a) { return _mm256_srli_epi16(a, N); }
template <int N>
MQ_FORCE I16 shift_left16(I16 a) { return _mm256_slli_epi16(a, N); }
MQ_FORCE I16 and16(I16 a, I16 b) { return _mm256_and_si256(a, b); }
MQ_FORCE I16 negative(I16 a) { return _mm256_srai_epi16(a, 15); }
MQ_FORCE I16 xor16(I16 a, I16 b) { return _mm256_xor_si256(a, b); }
MQ_FORCE I32 shift_right(I32 a, I32 n) { return _mm256_srav_epi32(a, n); }
MQ_FORCE I32 scaled(I32 a, I32 bits) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_castsi256_ps(bits)));
}
MQ_FORCE I16 pack(I32 a, I32 b) { return _mm256_packs_epi32(a, b); }
MQ_FORCE void store_half(int16_t* p, I32 a) {
    const __m128i codes = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), codes);
}
MQ_FORCE void store_half_clamped(int16_t* p, I32 a, const int16_t* low, const int16_t* high) {
    const __m128i codes = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i most = _mm_loadu_si128(reinterpret_cast<const __m128i*>(high));
    const __m128i least = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_min_epi16(_mm_max_epi16(codes, least), most));
}
MQ_FORCE I32 unpack_low32(I32 a, I32 b) { return _mm256_unpacklo_epi32(a, b); }
MQ_FORCE I32 unpack_high32(I32 a, I32 b) { return _mm256_unpackhi_epi32(a, b); }
MQ_FORCE I32 unpack_low64(I32 a, I32 b) { return _mm256_unpacklo_epi64(a, b); }
MQ_FORCE I32 unpack_high64(I32 a, I32 b) { return _mm256_unpackhi_epi64(a, b); }
// The sum of both quads.
MQ_FORCE __m128i add_quads(I32 a) {
    return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}

// Sixteen segments by byte look-ups, which give zero where bit 7 of the index is set; c goes on behind.
struct Segments {
    I16 a_low, a_high, b_low, b_high, c_low, c_high, c2_low, c2_high;
    __attribute__((always_inline)) static I16 bytes(const int16_t* t, int shift) {
        alignas(16) int8_t low[16];
        for (int i = 0; i < 16; ++i) low[i] = int8_t(t[i] >> shift);
        return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(low)));
    }
    __attribute__((always_inline)) explicit Segments(const int16_t* a, const int16_t* b, const int16_t* c)
        : a_low(bytes(a, 0)), a_high(bytes(a, 8)), b_low(bytes(b, 0)), b_high(bytes(b, 8)), c_low(bytes(c, 0)),
          c_high(bytes(c, 8)), c2_low(bytes(c + 16, 0)), c2_high(bytes(c + 16, 8)) {}
    __attribute__((always_inline)) static I16 look(I16 low, I16 high, I16 i, I16 i_high) {
        return _mm256_or_si256(_mm256_shuffle_epi8(low, i), _mm256_shuffle_epi8(high, i_high));
    }
    __attribute__((always_inline)) I16 at(I16 t) const {
        const I16 f = shift_left16<5>(and16(t, all16(1023)));
        const I16 segment = shift_right16<10>(t);
        // The low byte's index has its high byte switched off, and the other way round.
        const I16 near = add16(segment, all16(int16_t(0x8070))), near_high = add16(shift_left16<8>(segment), all16(0x7080));
        const I16 far = xor16(segment, all16(16));
        const I16 far_low = add16(far, all16(int16_t(0x8070))), far_high = add16(shift_left16<8>(far), all16(0x7080));
        const I16 slope = add16(look(b_low, b_high, near, near_high), mulhrs16(f, look(a_low, a_high, near, near_high)));
        const I16 start = _mm256_or_si256(look(c_low, c_high, near, near_high), look(c2_low, c2_high, far_low, far_high));
        return add16(start, mulhrs16(f, slope));
    }
};

#endif

// CAPPED: some of high is below 32767. left: channels from these on, of which the last register may hold fewer.
template <bool CAPPED = true>
MQ_FORCE void store_clamped(I16 codes, const int16_t* low, const int16_t* high, int16_t* y, int32_t left = words) {
    const I16 raised = max16(codes, load16(low)), clamped = CAPPED ? min16(raised, load16(high)) : raised;
    left >= words ? store16(y, clamped) : store_first(y, clamped, left);
}

}  // namespace mquans::MQ_ISA
