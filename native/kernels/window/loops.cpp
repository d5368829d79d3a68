// Windows of output sites, thirty-two channels in registers over all taps. Written in the compiler's own
// vectors, which it cuts to what the instruction set has.
#include <cstring>

#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

constexpr int block = 32;
typedef int16_t Block __attribute__((vector_size(2 * block)));
typedef int16_t Half __attribute__((vector_size(block)));
typedef int32_t Sums __attribute__((vector_size(2 * block)));
typedef int32_t Words __attribute__((vector_size(32)));
typedef int16_t Eighth __attribute__((vector_size(16)));

template <class V>
MQ_INLINE void load(const int16_t* p, V& v) {
    std::memcpy(&v, p, sizeof v);
}

template <bool WEIGHTED>
MQ_INLINE void sum_block(const int16_t* x, const int64_t* at, const int32_t* weight, int32_t taps, int32_t* sums) {
    Sums low = {}, high = {};
    for (int32_t t = 0; t < taps; ++t) {
        Half first, second;
        load(x + at[t], first);
        load(x + at[t] + block / 2, second);
        const Sums a = __builtin_convertvector(first, Sums), b = __builtin_convertvector(second, Sums);
        low += WEIGHTED ? a * weight[t] : a;
        high += WEIGHTED ? b * weight[t] : b;
    }
    std::memcpy(sums, &low, sizeof low);
    std::memcpy(sums + block / 2, &high, sizeof high);
}

}  // namespace

void window_largest(const SiteWindowArgs& args) {
    const int64_t* at = args.at;
    int16_t* y = args.y;
    for (int32_t i = 0; i < args.sites; ++i, at += args.taps, y += args.y_stride)
        for (int32_t c = 0; c < args.channels; c += block) {
            Block most, x;
            load(args.x + at[0] + c, most);
            for (int32_t t = 1, taps = args.count[i]; t < taps; ++t) {
                load(args.x + at[t] + c, x);
                most = x > most ? x : most;
            }
            std::memcpy(y + c, &most, sizeof most);
        }
}

void window_sum(const SiteWindowArgs& args) {
    const float high = args.limit, low = -high;
    const int64_t* at = args.at;
    int16_t* y = args.y;
    for (int32_t i = 0; i < args.sites; ++i, at += args.taps, y += args.y_stride)
        for (int32_t c = 0; c < args.channels; c += block) {
            int32_t sums[block];
            if (args.weight)
                sum_block<true>(args.x + c, at, args.weight + int64_t(i) * args.taps, args.count[i], sums);
            else
                sum_block<false>(args.x + c, at, nullptr, args.count[i], sums);
            for (int32_t k = 0; k < block; ++k) {
                float code = __builtin_rintf(float(sums[k]) * (args.scale[i] * args.factor[c + k]));
                code = code < high ? code : high;
                y[c + k] = int16_t(int32_t(code > low ? code : low));
            }
        }
}

void take_strided(const int16_t* x, int32_t step, int16_t* y, int32_t channels) {
    int32_t c = 0;
    // The low halves of 32-bit words: one instruction where there is AVX-512.
    for (; step == 2 && c + 8 <= channels; c += 8) {
        Words both;
        load(x + 2 * c, both);
        const Eighth even = __builtin_convertvector(both, Eighth);
        std::memcpy(y + c, &even, sizeof even);
    }
    for (; c < channels; ++c) y[c] = x[c * step];
}

}  // namespace mquans::MQ_ISA
