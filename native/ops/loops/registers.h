// Registers of floats of the instruction set that a file is compiled for; without vectors one float each.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "ops/loops/math.h"

namespace mquans::MQ_ISA {

#if defined(__AVX512F__)

using Floats = __m512;
using Part = __mmask16;
constexpr int32_t lanes = 16;

inline Part first(int32_t count) { return Part((1u << count) - 1); }
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Floats load(const float* x) { return _mm512_loadu_ps(x); }
inline Floats load(const float* x, Part part) { return _mm512_maskz_loadu_ps(part, x); }
inline void store(float* y, Floats x) { _mm512_storeu_ps(y, x); }
inline void store(float* y, Floats x, Part part) { _mm512_mask_storeu_ps(y, part, x); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }

#elif defined(__AVX2__)

using Floats = __m256;
using Part = __m256i;
constexpr int32_t lanes = 8;

inline Part first(int32_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Floats all(float x) { return _mm256_set1_ps(x); }
inline Floats load(const float* x) { return _mm256_loadu_ps(x); }
inline Floats load(const float* x, Part part) { return _mm256_maskload_ps(x, part); }
inline void store(float* y, Floats x) { _mm256_storeu_ps(y, x); }
inline void store(float* y, Floats x, Part part) { _mm256_maskstore_ps(y, part, x); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }

#else

using Floats = float;
struct Part {};
constexpr int32_t lanes = 1;

inline Part first(int32_t) { return {}; }
inline Floats all(float x) { return x; }
inline Floats load(const float* x) { return *x; }
inline Floats load(const float* x, Part) { return *x; }
inline void store(float* y, Floats x) { *y = x; }
inline void store(float* y, Floats x, Part) { *y = x; }

#endif

}  // namespace mquans::MQ_ISA
