// The weights of a register of channels stay in registers over all sites where they fit.
//
// narrow: one rounding product and one saturating addition per tap. wide: two taps are interleaved into pairs of
// codes, whose products are added to int32.
#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// TAPS 0: any number.
template <int TAPS>
MQ_FORCE void narrow(const DepthwiseArgs& args, int32_t c) {
    const int32_t taps = TAPS ? TAPS : args.taps;
    const int16_t* weights = args.weights + c;
    const I16 bias = load16(args.narrow_bias + c);
    I16 w[TAPS ? TAPS : 1];
    if constexpr (TAPS > 0)
        for (int t = 0; t < TAPS; ++t) w[t] = load16(weights + int64_t(t) * args.row);
    const int16_t* base = args.x + c;
    int16_t* y = args.y + c;
    for (int32_t i = 0; i < args.sites; ++i, y += args.y_stride) {
        const int16_t* x = base + args.at[i];
        I16 even = bias, odd = all16(0);
        for (int32_t t = 0; t < taps; ++t) {
            const I16 weight = TAPS ? w[TAPS ? t : 0] : load16(weights + int64_t(t) * args.row);
            I16& sum = t % 2 ? odd : even;
            sum = adds16(sum, mulhrs16(load16(x + args.tap[t]), weight));
        }
        store16(y, adds16(even, odd));
    }
}

template <int TAPS>
MQ_FORCE void wide(const DepthwiseArgs& args, int32_t c) {
    constexpr int PAIRS = (TAPS + 1) / 2;
    const int32_t taps = TAPS ? TAPS : args.taps;
    const I32 low_bias = load32(args.bias + c), high_bias = load32(args.bias + c + lanes);
    const I32 low_shift = load32(args.shift + c), high_shift = load32(args.shift + c + lanes);
    const int16_t* weights = args.weights + 2 * c;
    I16 w[TAPS ? 2 * PAIRS : 1];
    if constexpr (TAPS > 0)
        for (int k = 0; k < PAIRS; ++k) {
            w[2 * k] = load16(weights + 2 * int64_t(k) * args.row);
            w[2 * k + 1] = load16(weights + 2 * int64_t(k) * args.row + words);
        }
    const int16_t* base = args.x + c;
    int16_t* y = args.y + c;
    for (int32_t i = 0; i < args.sites; ++i, y += args.y_stride) {
        const int16_t* x = base + args.at[i];
        I32 low_sum = low_bias, high_sum = high_bias;
        for (int32_t t = 0; t < taps; t += 2) {
            const I16 a = load16(x + args.tap[t]), b = t + 1 < taps ? load16(x + args.tap[t + 1]) : a;
            const int16_t* both = weights + int64_t(t) * args.row;
            low_sum = dot(low_sum, low(a, b), TAPS ? w[TAPS ? t : 0] : load16(both));
            high_sum = dot(high_sum, high(a, b), TAPS ? w[TAPS ? t + 1 : 0] : load16(both + words));
        }
        store16(y, pack(shift_right(low_sum, low_shift), shift_right(high_sum, high_shift)));
    }
}

}  // namespace

void depthwise_sites(const DepthwiseArgs& args) {
    for (int32_t c = 0; c < args.channels; c += words) {
        if (args.narrow_bias)
            args.taps == 9 ? narrow<9>(args, c) : narrow<0>(args, c);
        else
            args.taps == 9 ? wide<9>(args, c) : wide<0>(args, c);
    }
}

}  // namespace mquans::MQ_ISA
