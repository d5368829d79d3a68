#include <algorithm>
#include <cmath>

#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

// p: of all planes of all rows.
float given_of(const InputRowArgs& args, int32_t p, int32_t x) {
    const int32_t c = p % args.channels;
    return args.pixels ? float(args.pixel[p][x]) * args.factor[c] + args.offset[c] : args.x[p][x];
}

int16_t code_of(const InputRowArgs& args, int32_t p, int32_t x) {
    const int32_t c = p % args.channels;
    const float given = given_of(args, p, x);
    const float value = args.scale ? given * args.scale[c] + args.shift[c] : given;
    const float code = std::rint(value * args.inverse[c]);
    return int16_t(std::clamp<float>(code, args.least_code, args.largest_code));
}

}  // namespace

bool input_compare(const InputRowArgs& args) {
    for (int32_t i = 0; i < (args.width + 63) / 64; ++i) args.taken[i] = 0;
    const int32_t planes = args.rows * args.channels;
    for (int32_t x = 0; x < args.width; ++x)
        for (int32_t p = 0; p < planes; ++p)
            if (!std::isfinite(given_of(args, p, x))) return false;
    for (int32_t first = 0; first < args.width; first += 2) {
        int32_t sum = 0;
        const int32_t last = std::min(first + 2, args.width);
        for (int32_t x = first; x < last; ++x)
            for (int32_t p = 0; p < planes && args.weight; ++p) {
                const int32_t change = std::clamp(code_of(args, p, x) - args.plane[p][x], -32768, 32767);
                const int32_t product = (change * args.weight[p % args.channels] + 0x4000) >> 15;
                const int32_t bounded = std::clamp<int32_t>(product, -args.largest, args.largest);
                sum += bounded * bounded;
            }
        for (int32_t x = first; x < last; ++x)
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
