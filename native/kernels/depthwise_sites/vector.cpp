// A register of channels after the other, each over all sites.
//
// narrow: one rounding product and one saturating addition per tap. wide: two taps are interleaved into pairs of
// codes, whose products are added to int32. Windows of 3 x 3 and 5 x 5 have their taps at steps of their rows and
// columns, which addresses express; other taps are looked up.
#include "kernels/simd/sums.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// Else GCC adds up in another order, for which registers do not suffice.
#if defined(__AVX512F__)
MQ_FORCE void in_order(I32& sum) { asm("" : "+v"(sum)); }
#else
MQ_FORCE void in_order(I32& sum) { asm("" : "+x"(sum)); }
#endif

// What a loop over sites reads of its arguments, which stores might otherwise change.
// K: taps are a window of K x K; 0: they lie anywhere.
template <int K>
struct Taps {
    static constexpr int known = K * K;
    static constexpr bool kept = K == 3;  // weights stay in registers
    const int32_t *tap, *at;
    const int64_t row, column, y_stride;
    const int32_t sites, count, left;
    const int16_t *const x, *const weights;
    const HeldSites held;
    int16_t* y;

    Taps(const DepthwiseArgs& args, int32_t c)
        : tap(args.tap), at(args.at), row(args.tap_row), column(args.tap_column), y_stride(args.y_stride),
          sites(args.sites), count(args.taps), left(args.channels - c), x(args.x + c + (K ? args.tap[0] : 0)),
          weights(args.weights + int64_t(c) * ((args.taps + 1) / 2 * 2)), held(args.held), y(args.y + c) {}

    // STRAIGHT: where codes are held.
    template <bool STRAIGHT, bool CAPPED>
    MQ_INLINE void store(int32_t i, int32_t c, I16 codes) const {
        if constexpr (STRAIGHT)
            store_clamped<CAPPED>(codes, held.low + c, held.high + c, held.codes + held.at[i] + c, left);
        else
            store16(y, codes);
    }
    MQ_INLINE I16 weight(int32_t place) const { return load16(weights + place * words); }

    // Calls each(tap, its codes) for a window; no multiplication is left in its addresses.
    template <class Each>
    MQ_INLINE void window(const int16_t* site, Each&& each) const {
#pragma GCC unroll 5
        for (int r = 0; r < K; ++r, site += row)
#pragma GCC unroll 5
            for (int k = 0; k < K; ++k) each(r * K + k, load16(site + k * column));
    }
};

template <int K, bool STRAIGHT, bool CAPPED, bool DOUBLED>
MQ_FORCE void narrow(const DepthwiseArgs& args, int32_t c) {
    Taps<K> taps(args, c);
    const int16_t* const twice = args.twice + c;
    const I16 bias = load16(args.narrow_bias + c);
    I16 kept[9];
    if constexpr (taps.kept)
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t) kept[t] = taps.weight(t);
    for (int32_t i = 0; i < taps.sites; ++i, taps.y += taps.y_stride) {
        const int16_t* x = taps.x + taps.at[i];
        taps.held.template prefetch<STRAIGHT>(i, c);
        I16 sum[2] = {bias, all16(0)};
        const auto add = [&](int32_t t, I16 codes) __attribute__((always_inline)) {
            sum[t % 2] = adds16(sum[t % 2], mulhrs16(codes, taps.kept ? kept[t] : taps.weight(t)));
            in_order(sum[t % 2]);
        };
        if constexpr (K > 0)
            taps.window(x, add);
        else
            for (int32_t t = 0; t < taps.count; ++t) add(t, load16(x + taps.tap[t]));
        I16 u = adds16(sum[0], sum[1]);
        if (DOUBLED) u = adds16(u, and16(u, load16(twice)));
        taps.template store<STRAIGHT, CAPPED>(i, c, u);
    }
}

template <int K, bool STRAIGHT, bool CAPPED, bool SCALED>
MQ_FORCE void wide(const DepthwiseArgs& args, int32_t c) {
    Taps<K> taps(args, c);
    const I32 low_bias = load32(args.bias + c), high_bias = load32(args.bias + c + lanes);
    const I32 low_shift = load32(args.shift + c), high_shift = load32(args.shift + c + lanes);
    I16 kept[10];
    if constexpr (taps.kept)
#pragma GCC unroll 10
        for (int t = 0; t < 10; ++t) kept[t] = taps.weight(t);
    for (int32_t i = 0; i < taps.sites; ++i, taps.y += taps.y_stride) {
        const int16_t* x = taps.x + taps.at[i];
        taps.held.template prefetch<STRAIGHT>(i, c);
        I32 low_sum = low_bias, high_sum = high_bias;
        const auto add = [&](int32_t t, I16 a, I16 b) __attribute__((always_inline)) {
            low_sum = dot(low_sum, low(a, b), taps.kept ? kept[t] : taps.weight(t));
            high_sum = dot(high_sum, high(a, b), taps.kept ? kept[t + 1] : taps.weight(t + 1));
            in_order(low_sum);
            in_order(high_sum);
        };
        if constexpr (K > 0) {
            I16 first;
            taps.window(x, [&](int32_t t, I16 codes) __attribute__((always_inline)) {
                if (t % 2) add(t - 1, first, codes);
                if (t == taps.known - 1) add(t, codes, codes);
                first = codes;
            });
        } else {
            for (int32_t t = 0; t < taps.count; t += 2) {
                const I16 a = load16(x + taps.tap[t]);
                add(t, a, t + 1 < taps.count ? load16(x + taps.tap[t + 1]) : a);
            }
        }
        taps.template store<STRAIGHT, CAPPED>(i, c, pack(shifted<SCALED>(low_sum, low_shift), shifted<SCALED>(high_sum, high_shift)));
    }
}

template <int K, bool STRAIGHT, bool CAPPED>
void all_channels(const DepthwiseArgs& args) {
    for (int32_t c = 0; c < args.channels; c += words) {
        const DepthwiseSums sums = args.sums[c / depthwise_block];
        if (sums == DepthwiseSums::wide)
            args.scaled ? wide<K, STRAIGHT, CAPPED, true>(args, c) : wide<K, STRAIGHT, CAPPED, false>(args, c);
        else
            sums == DepthwiseSums::doubled ? narrow<K, STRAIGHT, CAPPED, true>(args, c)
                                           : narrow<K, STRAIGHT, CAPPED, false>(args, c);
    }
}

template <int K>
void all_channels(const DepthwiseArgs& args) {
    !args.held.low     ? all_channels<K, false, true>(args)
    : args.held.capped ? all_channels<K, true, true>(args)
                       : all_channels<K, true, false>(args);
}

}  // namespace

void depthwise_sites(const DepthwiseArgs& args) {
    args.window == 3 ? all_channels<3>(args) : args.window == 5 ? all_channels<5>(args) : all_channels<0>(args);
}

}  // namespace mquans::MQ_ISA
