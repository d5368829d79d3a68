// Activations, and squares of weighted changes, a register of codes at a time; sites of few channels share a
// register. For the gate, constants of the channels stay in registers over all sites. Weights behind the last
// channel are zero, so what lies there does not count. Four registers of squares are added up together.
#include <cstring>

#include "kernels/simd/activate.h"
#include "kernels/simd/lookup.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

#if defined(__AVX512F__)
// Under a mask: whether a site is taken is foretold badly.
MQ_FORCE void copy_if(bool taken, const int16_t* from, int16_t* to, int32_t channels) {
    const __mmask32 all = -uint32_t(taken);
    int32_t c = 0;
    for (; c + words <= channels; c += words) _mm512_mask_storeu_epi16(to + c, all, load16(from + c));
    if (c < channels) _mm512_mask_storeu_epi16(to + c, all & first_of(channels - c), load16(from + c));
}
#else
MQ_FORCE void copy_if(bool taken, const int16_t* from, int16_t* to, int32_t channels) {
    if (!taken) return;
    int32_t c = 0;
    for (; c + words <= channels; c += words) store16(to + c, load16(from + c));
    if (c < channels) store_first(to + c, load16(from + c), channels - c);
}
#endif

// Held codes of the sites that share a register.
template <int SITES>
MQ_FORCE I16 load_held(const int16_t* held, const int64_t* at) {
    if constexpr (SITES == 1) return load16(held + at[0]);
#if defined(__AVX512F__)
    if constexpr (SITES == 2) {
        const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(held + at[0]));
        return _mm512_inserti64x4(_mm512_castsi256_si512(a),
                                  _mm256_loadu_si256(reinterpret_cast<const __m256i*>(held + at[1])), 1);
    }
    if constexpr (SITES == 4) {
        __m512i all = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(held + at[0])));
        all = _mm512_inserti32x4(all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(held + at[1])), 1);
        all = _mm512_inserti32x4(all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(held + at[2])), 2);
        return _mm512_inserti32x4(all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(held + at[3])), 3);
    }
#else
    if constexpr (SITES == 2)
        return _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(held + at[0]))),
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(held + at[1])), 1);
#endif
}

// Sums of the parts of four registers that belong to each site, in the order of the sites.
template <int SITES>
MQ_FORCE void sums(const I32* v, int32_t* out) {
    const I32 a = add32(unpack_low32(v[0], v[1]), unpack_high32(v[0], v[1]));
    const I32 b = add32(unpack_low32(v[2], v[3]), unpack_high32(v[2], v[3]));
    // Every quad holds its part of all four.
    const I32 quads = add32(unpack_low64(a, b), unpack_high64(a, b));
    if constexpr (SITES == 1) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), add_quads(quads));
    } else {
        alignas(64) int32_t part[lanes];
        store32(part, quads);
        constexpr int quads_per_site = lanes / 4 / SITES;
        for (int k = 0; k < 4; ++k)
            for (int s = 0; s < SITES; ++s) {
                int32_t sum = 0;
                for (int q = 0; q < quads_per_site; ++q) sum += part[4 * (s * quads_per_site + q) + k];
                out[k * SITES + s] = sum;
            }
    }
}

constexpr int32_t most_sites = 128;

// Arguments are copied: stores might change them.
template <int SITES, class Function>
void finish_gated(const FinishArgs args, Function function) {
    const int32_t registers = SITES > 1 ? 1 : (args.channels + words - 1) / words;
    const int32_t vectors = (args.sites + SITES - 1) / SITES;
    const I16 most = all16(args.largest), least = all16(int16_t(-args.largest));
    I32 squared[most_sites + 4];
    for (int32_t r = 0; r < registers; ++r) {
        const int32_t c = r * words;
        function.at(args.activation, c);
        const I16 weight = load16(args.weight + c);
        int16_t* codes = args.fresh + c;
        for (int32_t v = 0; v < vectors; ++v, codes += SITES * args.stride) {
            I16 code = load16(codes);
            if (Function::active) store16(codes, code = function(code));
            int64_t at[SITES];
            // The last register may hold more sites than there are.
            for (int s = 0; s < SITES; ++s) {
                const int32_t i = v * SITES + s;
                at[s] = args.held_at[i < args.sites ? i : 0];
            }
            const I16 product = mulhrs16(subs16(code, load_held<SITES>(args.held + c, at)), weight);
            const I32 square = squares(max16(min16(product, most), least));
            squared[v] = r ? add32(squared[v], square) : square;
        }
    }
    for (int32_t v = 0; v < vectors; v += 4) {
        int32_t sum[4 * SITES];
        for (int32_t k = vectors; k < v + 4; ++k) squared[k] = zero32();
        sums<SITES>(squared + v, sum);
        const int32_t first = v * SITES, count = args.sites - first < 4 * SITES ? args.sites - first : 4 * SITES;
        for (int32_t i = 0; i < count; ++i) {
            const bool taken = sum[i] > args.limit;
            args.taken[first + i] = taken;
            copy_if(taken, args.fresh + int64_t(first + i) * args.stride, args.held + args.held_at[first + i],
                    args.channels);
        }
    }
}

// Every site is taken; what has registers of its own goes straight to where it is held, in the order of memory.
template <int SITES, class Function>
void finish_all(const FinishArgs args, Function function) {
    int16_t* codes = args.fresh;
    if (SITES > 1) {
        function.at(args.activation, 0);
        for (int32_t i = 0; i < args.sites; i += SITES, codes += SITES * args.stride)
            store16(codes, function(load16(codes)));
        codes = args.fresh;
        for (int32_t i = 0; i < args.sites; ++i, codes += args.stride)
            copy_if(true, codes, args.held + args.held_at[i], args.channels);
    } else {
        const int32_t whole = args.channels / words * words;
        for (int32_t i = 0; i < args.sites; ++i, codes += args.stride) {
            int16_t* held = args.held + args.held_at[i];
            for (int32_t c = 0; c < whole; c += words) {
                function.at(args.activation, c);
                store16(held + c, function(load16(codes + c)));
            }
            if (whole == args.channels) continue;
            function.at(args.activation, whole);
            store_first(held + whole, function(load16(codes + whole)), args.channels - whole);
        }
    }
    std::memset(args.taken, 1, args.sites);
}

template <int SITES>
void finish(const FinishArgs& args) {
    with_activation(args.activation, [&](auto function) {
        args.weight ? finish_gated<SITES>(args, function) : finish_all<SITES>(args, function);
    });
}

}  // namespace

void finish_sites(const FinishArgs& args) {
    FinishArgs part = args;
    if (args.activation.kind == ActivationKind::lookup)
        look_up(args.activation, args.fresh, int64_t(args.sites) * args.stride);
    // The squares of a call lie on the stack.
    for (int32_t first = 0; first < args.sites; first += most_sites) {
        part.sites = args.sites - first < most_sites ? args.sites - first : most_sites;
        part.fresh = args.fresh + int64_t(first) * args.stride;
        part.held_at = args.held_at + first;
        part.taken = args.taken + first;
        if (args.stride >= words) {
            finish<1>(part);
        } else if (args.stride * 2 == words) {
            finish<2>(part);
        } else {
#if defined(__AVX512F__)
            finish<4>(part);
#endif
        }
    }
}

}  // namespace mquans::MQ_ISA
