// Sums of products in registers, and the codes that come of them.
#pragma once

#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {

// By the intrinsic, GCC keeps sums in two places and copies them in every step.
#if defined(__AVX512F__)
MQ_FORCE void add_dot(I32& sum, I16 a, I16 b) { asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
// Fours of unsigned bytes by signed ones.
MQ_FORCE void add_bytes(I32& sum, I16 a, I16 b) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
#elif defined(__AVXVNNI__)
MQ_FORCE void add_dot(I32& sum, I16 a, I16 b) { asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b)); }
MQ_FORCE void add_bytes(I32& sum, I16 a, I16 b) { asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b)); }
#else
MQ_FORCE void add_dot(I32& sum, I16 a, I16 b) { sum = dot(sum, a, b); }
#endif

template <bool BYTES>
MQ_FORCE void add_product(I32& sum, I16 weights, I16 x) {
#if defined(MQ_BYTES)
    if constexpr (BYTES) return add_bytes(sum, x, weights);
#endif
    add_dot(sum, weights, x);
}

// SCALED: by the float that shift holds the bits of.
template <bool SCALED>
MQ_FORCE I32 shifted(I32 sum, I32 shift) {
    return SCALED ? scaled(sum, shift) : shift_right(sum, shift);
}

// The sums of one site in one or two registers, as codes.
template <bool SCALED>
MQ_FORCE void store_codes(const I32 (&sum)[2], const I32 (&shift)[2], int16_t* y) {
    store16(y, pack(shifted<SCALED>(sum[0], shift[0]), shifted<SCALED>(sum[1], shift[1])));
}
template <bool SCALED, bool CAPPED = true>
MQ_FORCE void store_clamped(const I32 (&sum)[2], const I32 (&shift)[2], const int16_t* low, const int16_t* high,
                            int16_t* y) {
    store_clamped<CAPPED>(pack(shifted<SCALED>(sum[0], shift[0]), shifted<SCALED>(sum[1], shift[1])), low, high, y);
}
template <bool SCALED, bool CAPPED = true>
MQ_FORCE void store_clamped(const I32 (&sum)[1], const I32 (&shift)[1], const int16_t* low, const int16_t* high,
                            int16_t* y) {
    store_half_clamped(y, shifted<SCALED>(sum[0], shift[0]), low, high);
}
template <bool SCALED>
MQ_FORCE void store_codes(const I32 (&sum)[1], const I32 (&shift)[1], int16_t* y) {
    store_half(y, shifted<SCALED>(sum[0], shift[0]));
}

}  // namespace mquans::MQ_ISA
