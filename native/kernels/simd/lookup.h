// Codes of 8 bits looked up in a table of bytes, in place.
//
// avx2: pshufb looks up sixteen bytes, and gives zero where bit 7 of an index is set. All sixteen rows of a table are
// looked up, by an index that gets smaller by sixteen from row to row, and joined by xor: bit 7 is clear for the row
// that is meant and the seven before it, so every row holds what it adds to those.
// avx512: vpermt2w looks up 64 words at once.
#pragma once

#include "kernels/simd/words.h"
#include "mquans/codes.h"

namespace mquans::MQ_ISA {

#if defined(__AVX512F__)

struct Lookup {
    I16 words_of[8], first, start;
    __attribute__((always_inline)) explicit Lookup(const ActivationArgs& args)
        : first(all16(args.first)), start(all16(args.start)) {
        for (int i = 0; i < 8; ++i)
            words_of[i] = _mm512_cvtepu8_epi16(
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(args.lookup + 32 * i)));
    }
    __attribute__((always_inline)) I16 quarter(I16 i, int k) const {
        return _mm512_permutex2var_epi16(words_of[2 * k], i, words_of[2 * k + 1]);
    }
    __attribute__((always_inline)) void operator()(int16_t* codes) const {
        const I16 i = min16(max16(subs16(load16(codes), first), all16(0)), all16(lookup_entries - 1));
        const __mmask32 bit6 = _mm512_test_epi16_mask(i, all16(64)), bit7 = _mm512_test_epi16_mask(i, all16(128));
        const I16 near = _mm512_mask_blend_epi16(bit6, quarter(i, 0), quarter(i, 1));
        const I16 far = _mm512_mask_blend_epi16(bit6, quarter(i, 2), quarter(i, 3));
        store16(codes, add16(_mm512_mask_blend_epi16(bit7, near, far), start));
    }
};

#else

struct Lookup {
    alignas(32) uint8_t row[16][32];  // twice each
    I16 first, start;
    __attribute__((always_inline)) explicit Lookup(const ActivationArgs& args)
        : first(all16(args.first)), start(all16(args.start)) {
        __m128i before = _mm_setzero_si128(), added[16];
        for (int k = 0; k < 16; ++k) {
            const __m128i here = _mm_loadu_si128(reinterpret_cast<const __m128i*>(args.lookup + 16 * k));
            added[k] = _mm_xor_si128(here, before);
            if (k >= 8) added[k] = _mm_xor_si128(added[k], added[k - 8]);
            before = here;
            _mm256_store_si256(reinterpret_cast<__m256i*>(row[k]), _mm256_broadcastsi128_si256(added[k]));
        }
    }
    __attribute__((always_inline)) void operator()(int16_t* codes) const {
        // Packing clamps to the entries that there are.
        __m256i i = _mm256_packus_epi16(subs16(load16(codes), first), subs16(load16(codes + words), first));
        __m256i found = _mm256_setzero_si256();
        const __m256i sixteen = _mm256_set1_epi8(16);
        for (int k = 0; k < 16; ++k) {
            const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(row[k]));
            found = _mm256_xor_si256(found, _mm256_shuffle_epi8(bytes, i));
            // From where every index has once been below zero it must not come round again.
            i = k < 8 ? _mm256_sub_epi8(i, sixteen) : _mm256_subs_epi8(i, sixteen);
        }
        store16(codes, add16(_mm256_unpacklo_epi8(found, all16(0)), start));
        store16(codes + words, add16(_mm256_unpackhi_epi8(found, all16(0)), start));
    }
};

#endif

// Whole vectors of 32 codes.
static inline void look_up(const ActivationArgs& args, int16_t* codes, int64_t count) {
    const Lookup lookup(args);
    for (int64_t i = 0; i < count; i += 32) lookup(codes + i);
}

}  // namespace mquans::MQ_ISA
