// Included in front of every file when the kernels are built for Bochs 2.7, whose vpcompressw under a
// full mask of 32 lanes gives zeros (`(1 << 32) - 1` lanes are written). The full mask changes nothing.
#pragma once

#include <immintrin.h>

#define _mm512_maskz_compress_epi16(mask, value) \
    ((mask) == ~0u ? (value) : (_mm512_maskz_compress_epi16)((mask), (value)))
