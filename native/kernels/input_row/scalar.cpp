#include <algorithm>
#include <cmath>

#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {

void input_row(const InputRowArgs& args) {
    for (int32_t i = 0; i < (args.width + 63) / 64; ++i) args.taken[i] = 0;
    for (int32_t x = 0; x < args.width; ++x) {
        int16_t code[4] = {};
        int32_t sum = 0;
        for (int32_t c = 0; c < args.channels; ++c) {
            const float limit = args.code_limit;
            code[c] = int16_t(std::clamp(std::rint(args.x[c][x] * args.inverse[c]), -limit, limit));
            if (!args.weight) continue;
            const int32_t change = std::clamp(code[c] - args.plane[c][x], -32768, 32767);
            const int32_t product = (change * args.weight[c] + 0x4000) >> 15;
            const int32_t bounded = std::clamp<int32_t>(product, -args.largest, args.largest);
            sum += bounded * bounded;
        }
        if (args.weight && sum <= args.limit) continue;
        args.taken[x >> 6] |= uint64_t(1) << (x & 63);
        for (int32_t c = 0; c < args.channels; ++c) {
            args.plane[c][x] = code[c];
            args.site[x * args.stride + c] = code[c];
        }
    }
}

}  // namespace mquans::MQ_ISA
