#include "kernels/simd/activate_scalar.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {

constexpr int32_t block = 16;  // channels whose weights lie together

void depthwise_sites(const DepthwiseArgs& args) {
    for (int32_t i = 0; i < args.sites; ++i)
        for (int32_t c = 0; c < args.channels; ++c) {
            const int32_t size = (args.taps + 1) / 2 * 2;
            const DepthwiseSums sums = args.sums[c / depthwise_block];
            const int16_t *x = args.x + args.at[i] + c, *weights = args.weights + int64_t(c / block * block) * size;
            int16_t u;
            if (sums != DepthwiseSums::wide) {
                int16_t even = args.narrow_bias[c], odd = 0;
                for (int32_t t = 0; t < args.taps; ++t) {
                    int16_t& sum = t % 2 ? odd : even;
                    sum = saturate(sum + rounding_product(x[args.tap[t]], weights[t * block + c % block]));
                }
                u = saturate(even + odd);
                if (sums == DepthwiseSums::doubled) u = saturate(u + (u & args.twice[c]));
            } else {
                int32_t sum = args.bias[c];
                for (int32_t t = 0; t < args.taps; ++t)
                    sum += x[args.tap[t]] * weights[2 * (t / 2 * block + c % block) + t % 2];
                u = saturate(args.scaled ? scaled(sum, args.shift[c]) : sum >> args.shift[c]);
            }
            store_code(args.held, i, c, u, args.y + int64_t(i) * args.y_stride);
        }
}

}  // namespace mquans::MQ_ISA
