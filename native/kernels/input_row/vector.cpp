// A register of pixels at a time, plane by plane; sites are put together eight pixels at a time.
#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

#if defined(__AVX512F__)
// Rounded, in natural order.
MQ_FORCE __m256i half_codes(const float* x, float inverse, float limit) {
    const __m512 code = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(inverse));
    const __m512 bounded = _mm512_max_ps(_mm512_min_ps(code, _mm512_set1_ps(limit)), _mm512_set1_ps(-limit));
    return _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(bounded));
}
MQ_FORCE I16 codes_of(const float* x, float inverse, float limit) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(half_codes(x, inverse, limit)),
                              half_codes(x + 16, inverse, limit), 1);
}
// One bit per pixel where the sums of low and high pixels are beyond the limit; `mask` has their words set.
MQ_FORCE uint32_t beyond(I32 low_sum, I32 high_sum, I32 limit, I16& mask) {
    const __m512i a = _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(low_sum, limit));
    const __m512i b = _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(high_sum, limit));
    mask = _mm512_packs_epi32(a, b);
    return _mm512_movepi16_mask(mask);
}
MQ_FORCE I32 all32(int32_t x) { return _mm512_set1_epi32(x); }
#else
MQ_FORCE __m256i half_codes(const float* x, float inverse, float limit) {
    const __m256 code = _mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(inverse));
    return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(code, _mm256_set1_ps(limit)), _mm256_set1_ps(-limit)));
}
MQ_FORCE I16 codes_of(const float* x, float inverse, float limit) {
    const __m256i both = _mm256_packs_epi32(half_codes(x, inverse, limit), half_codes(x + 8, inverse, limit));
    return _mm256_permute4x64_epi64(both, 0xD8);
}
MQ_FORCE uint32_t beyond(I32 low_sum, I32 high_sum, I32 limit, I16& mask) {
    mask = _mm256_packs_epi32(_mm256_cmpgt_epi32(low_sum, limit), _mm256_cmpgt_epi32(high_sum, limit));
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(mask, mask), 0xD8);
    return uint32_t(_mm256_movemask_epi8(bytes)) & 0xffff;
}
MQ_FORCE I32 all32(int32_t x) { return _mm256_set1_epi32(x); }
#endif

// Eight pixels of up to four planes as sites.
MQ_FORCE void join(const int16_t* const* plane, int32_t channels, int32_t stride, int32_t x, int16_t* site) {
    __m128i p[4];
    for (int c = 0; c < 4; ++c)
        p[c] = c < channels ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(plane[c] + x)) : _mm_setzero_si128();
    const __m128i a = _mm_unpacklo_epi16(p[0], p[1]), b = _mm_unpackhi_epi16(p[0], p[1]);
    __m128i* to = reinterpret_cast<__m128i*>(site + int64_t(x) * stride);
    if (stride == 2) {
        _mm_storeu_si128(to, a);
        _mm_storeu_si128(to + 1, b);
        return;
    }
    const __m128i c = _mm_unpacklo_epi16(p[2], p[3]), d = _mm_unpackhi_epi16(p[2], p[3]);
    _mm_storeu_si128(to, _mm_unpacklo_epi32(a, c));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi32(a, c));
    _mm_storeu_si128(to + 2, _mm_unpacklo_epi32(b, d));
    _mm_storeu_si128(to + 3, _mm_unpackhi_epi32(b, d));
}

// The last pixels of a row, which make no whole register.
void rest(const InputRowArgs& args, int32_t first) {
    for (int32_t x = first; x < args.width; ++x) {
        int16_t code[4] = {};
        int32_t sum = 0;
        for (int32_t c = 0; c < args.channels; ++c) {
            const float limit = args.code_limit;
            float value = __builtin_rintf(args.x[c][x] * args.inverse[c]);
            value = value < limit ? value : limit;
            code[c] = int16_t(value > -limit ? value : -limit);
            if (!args.weight) continue;
            int32_t change = code[c] - args.plane[c][x];
            change = change > 32767 ? 32767 : change < -32768 ? -32768 : change;
            int32_t product = (change * args.weight[c] + 0x4000) >> 15;
            product = product > args.largest ? args.largest : product < -args.largest ? -args.largest : product;
            sum += product * product;
        }
        if (args.weight && sum <= args.limit) continue;
        args.taken[x >> 6] |= uint64_t(1) << (x & 63);
        for (int32_t c = 0; c < args.channels; ++c) {
            args.plane[c][x] = code[c];
            args.site[x * args.stride + c] = code[c];
        }
    }
}

}  // namespace

void input_row(const InputRowArgs& args) {
    for (int32_t i = 0; i < (args.width + 63) / 64; ++i) args.taken[i] = 0;
    const I16 most = all16(args.largest), least = all16(int16_t(-args.largest));
    const I32 limit = all32(args.limit);
    int32_t x = 0;
    for (; x + words <= args.width; x += words) {
        I16 code[4], product[4];
        for (int32_t c = 0; c < 4; ++c) code[c] = product[c] = all16(0);
        for (int32_t c = 0; c < args.channels; ++c) {
            code[c] = codes_of(args.x[c] + x, args.inverse[c], args.code_limit);
            if (!args.weight) continue;
            const I16 change = subs16(code[c], load16(args.plane[c] + x));
            product[c] = max16(min16(mulhrs16(change, all16(args.weight[c])), most), least);
        }
        I16 mask = all16(-1);
        uint32_t bits = words == 32 ? 0xffffffffu : 0xffffu;
        if (args.weight) {
            I16 a = low(product[0], product[1]), b = high(product[0], product[1]);
            I32 low_sum = squares(a), high_sum = squares(b);
            a = low(product[2], product[3]), b = high(product[2], product[3]);
            low_sum = add32(low_sum, squares(a)), high_sum = add32(high_sum, squares(b));
            bits = beyond(low_sum, high_sum, limit, mask);
        }
        if (!bits) continue;
        args.taken[x >> 6] |= uint64_t(bits) << (x & 63);
        for (int32_t c = 0; c < args.channels; ++c) {
            const I16 held = load16(args.plane[c] + x);
            store16(args.plane[c] + x, xor16(held, and16(xor16(held, code[c]), mask)));
        }
        for (int32_t i = 0; i < words; i += 8)
            if (bits >> i & 0xff) join(args.plane, args.channels, args.stride, x + i, args.site);
    }
    rest(args, x);
}

}  // namespace mquans::MQ_ISA
