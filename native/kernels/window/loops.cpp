// Windows of one output site, thirty-two channels in registers over all taps. Written in the compiler's own
// vectors, which it cuts to what the instruction set has.
#include <cstring>

#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int block = 32;
typedef int16_t Block __attribute__((vector_size(2 * block)));
typedef int16_t Half __attribute__((vector_size(block)));
typedef int32_t Sums __attribute__((vector_size(2 * block)));

template <class V>
MQ_INLINE void load(const int16_t* p, V& v) {
    std::memcpy(&v, p, sizeof v);
}

template <bool WEIGHTED>
MQ_INLINE void sum_block(const SiteWindowArgs& args, int32_t c, int32_t* sums) {
    Sums low = {}, high = {};
    for (int32_t t = 0; t < args.taps; ++t) {
        const int16_t* x = args.x + args.at[t] + c;
        Half first, second;
        load(x, first);
        load(x + block / 2, second);
        const Sums a = __builtin_convertvector(first, Sums), b = __builtin_convertvector(second, Sums);
        low += WEIGHTED ? a * args.weight[t] : a;
        high += WEIGHTED ? b * args.weight[t] : b;
    }
    std::memcpy(sums, &low, sizeof low);
    std::memcpy(sums + block / 2, &high, sizeof high);
}

}  // namespace

void window_largest(const SiteWindowArgs& args) {
    for (int32_t c = 0; c < args.channels; c += block) {
        Block most, x;
        load(args.x + args.at[0] + c, most);
        for (int32_t t = 1; t < args.taps; ++t) {
            load(args.x + args.at[t] + c, x);
            most = x > most ? x : most;
        }
        std::memcpy(args.y + c, &most, sizeof most);
    }
}

void window_sum(const SiteWindowArgs& args) {
    const float high = args.limit, low = -high;
    for (int32_t c = 0; c < args.channels; c += block) {
        int32_t sums[block];
        if (args.weight)
            sum_block<true>(args, c, sums);
        else
            sum_block<false>(args, c, sums);
        for (int32_t i = 0; i < block; ++i) {
            float code = __builtin_rintf(float(sums[i]) * (args.scale * args.factor[c + i]));
            code = code < high ? code : high;
            args.y[c + i] = int16_t(int32_t(code > low ? code : low));
        }
    }
}

void take_strided(const int16_t* x, int32_t step, int16_t* y, int32_t channels) {
    if (step == 2) {
        for (int32_t c = 0; c < channels; ++c) y[c] = x[2 * c];
        return;
    }
    for (int32_t c = 0; c < channels; ++c) y[c] = x[c * step];
}

}  // namespace mquans::MQ_ISA
