// A register of pixels at a time, plane by plane; sites are put together eight pixels at a time. Comparing
// writes nothing but marks, so that a frame that is not finite changes nothing.
#include <type_traits>
#include <utility>

#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

#if defined(__AVX512F__)
using Half = __m512;  // values of half a register of codes
MQ_FORCE Half affine(Half x, float factor, float offset) {
    return _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(factor)), _mm512_set1_ps(offset));
}
MQ_FORCE Half values(const float* x) { return _mm512_loadu_ps(x); }
MQ_FORCE Half values(const uint8_t* pixel, float factor, float offset) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixel));
    const Half x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    return affine(x, factor, offset);
}
// Rounded, in natural order.
MQ_FORCE __m256i half_codes(Half x, float inverse, float least, float largest) {
    const __m512 code = _mm512_mul_ps(x, _mm512_set1_ps(inverse));
    const __m512 bounded = _mm512_max_ps(_mm512_min_ps(code, _mm512_set1_ps(largest)), _mm512_set1_ps(least));
    return _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(bounded));
}
MQ_FORCE I16 codes_of(Half a, Half b, float inverse, float least, float largest) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(half_codes(a, inverse, least, largest)),
                              half_codes(b, inverse, least, largest), 1);
}
template <int K>
MQ_FORCE __m128i eight_of(I16 codes) { return _mm512_extracti32x4_epi32(codes, K); }
// One bit per pixel where the sums of low and high pixels are beyond the limit.
MQ_FORCE uint32_t beyond(I32 low_sum, I32 high_sum, I32 limit) {
    const __m512i a = _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(low_sum, limit));
    const __m512i b = _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(high_sum, limit));
    return _mm512_movepi16_mask(_mm512_packs_epi32(a, b));
}
MQ_FORCE I16 mask_of(uint32_t bits) { return _mm512_movm_epi16(bits); }
// Both pixels of a block get the sum of both.
MQ_FORCE I32 with_neighbour(I32 sum) { return add32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB)); }
// Some exponent has all bits set: NaN or infinite.
MQ_FORCE bool odd(const float* x) {
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    const __m512i a = _mm512_and_si512(_mm512_loadu_si512(x), exponent);
    const __m512i b = _mm512_and_si512(_mm512_loadu_si512(x + 16), exponent);
    return _mm512_cmpeq_epi32_mask(_mm512_max_epu32(a, b), exponent);
}
#else
using Half = __m256;
MQ_FORCE Half affine(Half x, float factor, float offset) {
    return _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(factor)), _mm256_set1_ps(offset));
}
MQ_FORCE Half values(const float* x) { return _mm256_loadu_ps(x); }
MQ_FORCE Half values(const uint8_t* pixel, float factor, float offset) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(pixel));
    const Half x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    return affine(x, factor, offset);
}
MQ_FORCE __m256i half_codes(Half x, float inverse, float least, float largest) {
    const __m256 code = _mm256_mul_ps(x, _mm256_set1_ps(inverse));
    return _mm256_cvtps_epi32(
        _mm256_max_ps(_mm256_min_ps(code, _mm256_set1_ps(largest)), _mm256_set1_ps(least)));
}
MQ_FORCE I16 codes_of(Half a, Half b, float inverse, float least, float largest) {
    const __m256i both =
        _mm256_packs_epi32(half_codes(a, inverse, least, largest), half_codes(b, inverse, least, largest));
    return _mm256_permute4x64_epi64(both, 0xD8);
}
template <int K>
MQ_FORCE __m128i eight_of(I16 codes) { return _mm256_extracti128_si256(codes, K); }
MQ_FORCE uint32_t beyond(I32 low_sum, I32 high_sum, I32 limit) {
    const __m256i mask =
        _mm256_packs_epi32(_mm256_cmpgt_epi32(low_sum, limit), _mm256_cmpgt_epi32(high_sum, limit));
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(mask, mask), 0xD8);
    return uint32_t(_mm256_movemask_epi8(bytes)) & 0xffff;
}
MQ_FORCE I32 with_neighbour(I32 sum) { return add32(sum, _mm256_shuffle_epi32(sum, 0xB1)); }
MQ_FORCE I16 mask_of(uint32_t bits) {
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
    return _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(int16_t(bits)), bit), bit);
}
MQ_FORCE bool odd(const float* x) {
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    const __m256i a = _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), exponent);
    const __m256i b = _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 8)), exponent);
    const __m256i found = _mm256_cmpeq_epi32(_mm256_max_epi32(a, b), exponent);
    return !_mm256_testz_si256(found, found);
}
#endif

// Which bytes of three planes of eight codes their sites consist of, three registers; 0x80: of another plane.
struct ByThrees {
    alignas(16) uint8_t byte[3][3][16];
    constexpr ByThrees() : byte() {
        for (int at = 0; at < 24; ++at)
            for (int c = 0; c < 3; ++c)
                for (int half = 0; half < 2; ++half)
                    byte[at / 8][c][2 * (at % 8) + half] = at % 3 == c ? uint8_t(2 * (at / 3) + half) : 0x80;
    }
};
constexpr ByThrees by_threes;

// Eight pixels of planes as sites, STRIDE codes apart.
template <int CHANNELS, int STRIDE>
MQ_FORCE void join(const __m128i (&given)[CHANNELS], int16_t* site) {
    __m128i p[4];
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) p[c] = c < CHANNELS ? given[c < CHANNELS ? c : 0] : _mm_setzero_si128();
    __m128i* to = reinterpret_cast<__m128i*>(site);
    if constexpr (STRIDE == 1) {
        _mm_storeu_si128(to, p[0]);
    } else if constexpr (STRIDE == 3) {
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) {
            const auto from = [&](int c) __attribute__((always_inline)) {
                return _mm_shuffle_epi8(p[c], _mm_load_si128(reinterpret_cast<const __m128i*>(by_threes.byte[k][c])));
            };
            _mm_storeu_si128(to + k, _mm_or_si128(_mm_or_si128(from(0), from(1)), from(2)));
        }
    } else {
        const __m128i a = _mm_unpacklo_epi16(p[0], p[1]), b = _mm_unpackhi_epi16(p[0], p[1]);
        if constexpr (STRIDE == 2) {
            _mm_storeu_si128(to, a);
            _mm_storeu_si128(to + 1, b);
        } else {
            const __m128i c = _mm_unpacklo_epi16(p[2], p[3]), d = _mm_unpackhi_epi16(p[2], p[3]);
            _mm_storeu_si128(to, _mm_unpacklo_epi32(a, c));
            _mm_storeu_si128(to + 1, _mm_unpackhi_epi32(a, c));
            _mm_storeu_si128(to + 2, _mm_unpacklo_epi32(b, d));
            _mm_storeu_si128(to + 3, _mm_unpackhi_epi32(b, d));
        }
    }
}

float given_of(const InputRowArgs& args, int32_t p, int32_t x) {
    const int32_t c = p % args.channels;
    return args.pixels ? float(args.pixel[p][x]) * args.factor[c] + args.offset[c] : args.x[p][x];
}

int16_t code_of(const InputRowArgs& args, int32_t p, int32_t x) {
    const int32_t c = p % args.channels;
    const float least = args.least_code, largest = args.largest_code, given = given_of(args, p, x);
    const float value = args.scale ? given * args.scale[c] + args.shift[c] : given;
    const float code = __builtin_rintf(value * args.inverse[c]);
    const float bounded = code < largest ? code : largest;
    return int16_t(bounded > least ? bounded : least);
}

// Of the last pixels of a row, which make no whole register.
bool compare_rest(const InputRowArgs& args, int32_t first) {
    bool finite = true;
    for (; first < args.width; first += 2) {
        const int32_t last = first + 2 < args.width ? first + 2 : args.width;
        int32_t sum = 0;
        for (int32_t x = first; x < last; ++x)
            for (int32_t p = 0; p < args.rows * args.channels; ++p) {
                finite = finite && given_of(args, p, x) - given_of(args, p, x) == 0.0f;
                if (!args.weight) continue;
                int32_t change = code_of(args, p, x) - args.plane[p][x];
                change = change > 32767 ? 32767 : change < -32768 ? -32768 : change;
                int32_t product = (change * args.weight[p % args.channels] + 0x4000) >> 15;
                product = product > args.largest ? args.largest : product < -args.largest ? -args.largest : product;
                sum += product * product;
            }
        for (int32_t x = first; x < last; ++x)
            if (!args.weight || sum > args.limit) args.taken[x >> 6] |= uint64_t(1) << (x & 63);
    }
    return finite;
}

// Up to two rows of planes, of which registers of pixels are compared.
template <bool PIXELS, bool AFFINE, int32_t CHANNELS>
struct Comparison {
    using Pixel = std::conditional_t<PIXELS, uint8_t, float>;
    static constexpr int32_t planes = 2 * CHANNELS;
    const Pixel* x[planes];
    const int16_t* held[planes];
    float inverse[CHANNELS], factor[CHANNELS] = {}, offset[CHANNELS] = {}, scale[CHANNELS] = {}, shift[CHANNELS] = {};
    const float least_code, largest_code;
    const int64_t next_x, next_held;
    I16 weight[CHANNELS];
    const I16 most, least;
    const I32 limit;

    MQ_INLINE explicit Comparison(const InputRowArgs& args)
        : least_code(args.least_code), largest_code(args.largest_code), next_x(args.next_x), next_held(args.next_plane),
          most(all16(args.largest)), least(all16(int16_t(-args.largest))), limit(all32(args.limit)) {
        for (int32_t p = 0; p < args.rows * CHANNELS; ++p) {
            if constexpr (PIXELS) x[p] = args.pixel[p];
            else x[p] = args.x[p];
            held[p] = args.plane[p];
        }
        for (int32_t c = 0; c < CHANNELS; ++c) {
            inverse[c] = args.inverse[c];
            if (PIXELS) factor[c] = args.factor[c], offset[c] = args.offset[c];
            if (AFFINE) scale[c] = args.scale[c], shift[c] = args.shift[c];
            if (args.weight) weight[c] = all16(args.weight[c]);
        }
    }

    // What is compared next comes from memory.
    MQ_INLINE void prefetch(int32_t p, int32_t at) const {
        __builtin_prefetch(x[p] + at + next_x);
        __builtin_prefetch(held[p] + at + next_held);
    }

    MQ_INLINE bool is_odd(int32_t p, int32_t at) const {
        if constexpr (PIXELS) return false;
        else return odd(x[p] + at);
    }

    MQ_INLINE Half value(int32_t c, const Pixel* from) const {
        Half given;
        if constexpr (PIXELS) given = values(from, factor[c], offset[c]);
        else given = values(from);
        return AFFINE ? affine(given, scale[c], shift[c]) : given;
    }

    MQ_INLINE I16 codes(int32_t p, int32_t c, int32_t at) const {
        const Pixel* from = x[p] + at;
        return codes_of(value(c, from), value(c, from + lanes), inverse[c], least_code, largest_code);
    }

    MQ_INLINE I16 product(int32_t p, int32_t c, int32_t at) const {
        const I16 change = subs16(codes(p, c, at), load16(held[p] + at));
        return max16(min16(mulhrs16(change, weight[c]), most), least);
    }
};

// Marks the pixels of whole registers; how many there are.
template <bool PIXELS, bool AFFINE, int32_t CHANNELS, int32_t ROWS, bool GATED>
MQ_FORCE int32_t compare_registers(const InputRowArgs& args, bool& any_odd) {
    const Comparison<PIXELS, AFFINE, CHANNELS> rows(args);
    const int32_t end = args.width / words * words;
    uint64_t* const taken = args.taken;
    constexpr uint64_t every = words == 32 ? 0xffffffffu : 0xffffu;
    bool found_odd = false;
    uint64_t marks = 0;
    for (int32_t x = 0; x < end; x += words) {
        I32 low_sum = zero32(), high_sum = zero32();
#pragma GCC unroll 2
        for (int32_t row = 0; row < ROWS; ++row) {
            I16 product[CHANNELS + 1];
            product[CHANNELS] = all16(0);
#pragma GCC unroll 4
            for (int32_t c = 0; c < CHANNELS; ++c) {
                const int32_t p = row * CHANNELS + c;
                rows.prefetch(p, x);
                found_odd |= rows.is_odd(p, x);
                if (GATED) product[c] = rows.product(p, c, x);
            }
#pragma GCC unroll 4
            for (int32_t c = 0; GATED && c < CHANNELS; c += 2) {
                low_sum = add32(low_sum, squares(low(product[c], product[c + 1])));
                high_sum = add32(high_sum, squares(high(product[c], product[c + 1])));
            }
        }
        const uint64_t bits =
            GATED ? beyond(with_neighbour(low_sum), with_neighbour(high_sum), rows.limit) : every;
        marks |= bits << (x & 63);
        if ((x + words) % 64 == 0) taken[x >> 6] = std::exchange(marks, 0);
    }
    if (end & 63) taken[end >> 6] = marks;
    any_odd = found_odd;
    return end;
}

template <bool PIXELS, bool AFFINE, int32_t CHANNELS>
bool compare(const InputRowArgs& args) {
    for (int32_t i = 0; i < (args.width + 63) / 64; ++i) args.taken[i] = 0;
    bool any_odd = false;
    int32_t done;
    if (!args.weight)
        done = args.rows == 2 ? compare_registers<PIXELS, AFFINE, CHANNELS, 2, false>(args, any_odd)
                              : compare_registers<PIXELS, AFFINE, CHANNELS, 1, false>(args, any_odd);
    else
        done = args.rows == 2 ? compare_registers<PIXELS, AFFINE, CHANNELS, 2, true>(args, any_odd)
                              : compare_registers<PIXELS, AFFINE, CHANNELS, 1, true>(args, any_odd);
    return compare_rest(args, done) && !any_odd;
}

// Of the pixels from K * 8 on, those that are marked, as sites.
template <int CHANNELS, int STRIDE, int K>
MQ_FORCE void join_marked(const I16 (&codes)[CHANNELS], uint32_t bits, int16_t* site) {
    if constexpr (K < words / 8) {
        __m128i eight[CHANNELS];
#pragma GCC unroll 4
        for (int c = 0; c < CHANNELS; ++c) eight[c] = eight_of<K>(codes[c]);
        if (bits >> (8 * K) & 0xff) join<CHANNELS, STRIDE>(eight, site + 8 * K * STRIDE);
        join_marked<CHANNELS, STRIDE, K + 1>(codes, bits, site);
    }
}

template <bool PIXELS, bool AFFINE, int32_t CHANNELS, int32_t STRIDE>
void take(const InputRowArgs& args) {
    const Comparison<PIXELS, AFFINE, CHANNELS> rows(args);
    const int32_t end = args.width / words * words;
    constexpr uint32_t every = words == 32 ? 0xffffffffu : 0xffffu;
    const uint64_t* const taken = args.taken;
    int16_t *const site = args.site, *plane[CHANNELS];
    for (int32_t c = 0; c < CHANNELS; ++c) plane[c] = args.plane[c];
    for (int32_t x = 0; x < end; x += words) {
        const uint32_t bits = uint32_t(taken[x >> 6] >> (x & 63)) & every;
        if (!bits) continue;
        I16 codes[CHANNELS];
#pragma GCC unroll 4
        for (int32_t c = 0; c < CHANNELS; ++c) codes[c] = rows.codes(c, c, x);
        if (bits != every) {
            const I16 mask = mask_of(bits);
#pragma GCC unroll 4
            for (int32_t c = 0; c < CHANNELS; ++c) {
                const I16 held = load16(plane[c] + x);
                codes[c] = xor16(held, and16(xor16(held, codes[c]), mask));
            }
        }
#pragma GCC unroll 4
        for (int32_t c = 0; c < CHANNELS; ++c) store16(plane[c] + x, codes[c]);
        join_marked<CHANNELS, STRIDE, 0>(codes, bits, site + int64_t(x) * STRIDE);
    }
    for (int32_t x = end; x < args.width; ++x)
        if (taken[x >> 6] >> (x & 63) & 1)
            for (int32_t c = 0; c < CHANNELS; ++c) site[x * STRIDE + c] = plane[c][x] = code_of(args, c, x);
}

template <bool PIXELS, bool AFFINE, int32_t CHANNELS>
void take(const InputRowArgs& args) {
    constexpr int32_t apart = CHANNELS == 1 ? 2 : CHANNELS == 3 ? 4 : CHANNELS;
    args.stride == CHANNELS ? take<PIXELS, AFFINE, CHANNELS, CHANNELS>(args)
                            : take<PIXELS, AFFINE, CHANNELS, apart>(args);
}

// Calls run(pixels, affine, number of channels), all known when it is compiled.
template <class Run>
auto by_kind(const InputRowArgs& args, Run&& run) {
    const auto by_channels = [&](auto pixels, auto affine) {
        switch (args.channels) {
            case 1: return run(pixels, affine, std::integral_constant<int32_t, 1>());
            case 2: return run(pixels, affine, std::integral_constant<int32_t, 2>());
            case 3: return run(pixels, affine, std::integral_constant<int32_t, 3>());
            default: return run(pixels, affine, std::integral_constant<int32_t, 4>());
        }
    };
    const auto by_affine = [&](auto pixels) {
        return args.scale ? by_channels(pixels, std::true_type()) : by_channels(pixels, std::false_type());
    };
    return args.pixels ? by_affine(std::true_type()) : by_affine(std::false_type());
}

}  // namespace

bool input_compare(const InputRowArgs& args) {
    return by_kind(args, [&](auto pixels, auto affine, auto channels) {
        return compare<pixels(), affine(), channels()>(args);
    });
}

void input_take(const InputRowArgs& args) {
    by_kind(args, [&](auto pixels, auto affine, auto channels) { take<pixels(), affine(), channels()>(args); });
}

}  // namespace mquans::MQ_ISA
