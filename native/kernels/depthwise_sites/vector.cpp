// The weights of a register of channels stay in registers over all sites where they fit.
//
// narrow: one rounding product and one saturating addition per tap. wide: pairs of taps are unpacked into
// pairs of codes, whose products are added to int32; twice the work.
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

MQ_FORCE void wide(const DepthwiseArgs& args, int32_t c) {
    const I32 low_bias = load32(args.bias + c), high_bias = load32(args.bias + c + lanes);
    const I32 low_shift = load32(args.shift + c), high_shift = load32(args.shift + c + lanes);
    for (int32_t i = 0; i < args.sites; ++i) {
        const int16_t* x = args.x + args.at[i] + c;
        const int16_t* weights = args.weights + c;
        I32 low_sum = low_bias, high_sum = high_bias;
        for (int32_t t = 0; t < args.taps; t += 2, weights += 2 * int64_t(args.row)) {
            const I16 a = load16(x + args.tap[t]), b = load16(x + args.tap[t + 1 < args.taps ? t + 1 : t]);
            const I16 v = load16(weights), w = load16(weights + args.row);
            low_sum = dot(low_sum, low(a, b), low(v, w));
            high_sum = dot(high_sum, high(a, b), high(v, w));
        }
        const I16 u = pack(shift_right(low_sum, low_shift), shift_right(high_sum, high_shift));
        store16(args.y + int64_t(i) * args.y_stride + c, u);
    }
}

}  // namespace

void depthwise_sites(const DepthwiseArgs& args) {
    for (int32_t c = 0; c < args.channels; c += words) {
        if (!args.narrow_bias)
            wide(args, c);
        else if (args.taps == 9)
            narrow<9>(args, c);
        else
            narrow<0>(args, c);
    }
}

}  // namespace mquans::MQ_ISA
