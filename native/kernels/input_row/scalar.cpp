#include <algorithm>
#include <cmath>

#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

int16_t code_of(const InputRowArgs& args, int32_t c, int32_t x) {
    const float limit = args.code_limit;
    return int16_t(std::clamp(std::rint(args.x[c][x] * args.inverse[c]), -limit, limit));
}

}  // namespace

bool input_compare(const InputRowArgs& args) {
    for (int32_t i = 0; i < (args.width + 63) / 64; ++i) args.taken[i] = 0;
    for (int32_t x = 0; x < args.width; ++x)
        for (int32_t c = 0; c < args.channels; ++c)
            if (!std::isfinite(args.x[c][x])) return false;
    for (int32_t x = 0; x < args.width; ++x) {
        int32_t sum = 0;
        for (int32_t c = 0; c < args.channels && args.weight; ++c) {
            const int32_t change = std::clamp(code_of(args, c, x) - args.plane[c][x], -32768, 32767);
            const int32_t product = (change * args.weight[c] + 0x4000) >> 15;
            const int32_t bounded = std::clamp<int32_t>(product, -args.largest, args.largest);
            sum += bounded * bounded;
        }
        if (!args.weight || sum > args.limit) args.taken[x >> 6] |= uint64_t(1) << (x & 63);
    }
    return true;
}

void input_take(const InputRowArgs& args) {
    for (int32_t x = 0; x < args.width; ++x)
        if (args.taken[x >> 6] >> (x & 63) & 1)
            for (int32_t c = 0; c < args.channels; ++c)
                args.site[x * args.stride + c] = args.plane[c][x] = code_of(args, c, x);
}

}  // namespace mquans::MQ_ISA
