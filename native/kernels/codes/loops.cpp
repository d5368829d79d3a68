// Floats to codes and back, channel by channel.
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {

void encode(const float* x, const float* inverse, int16_t least, int16_t largest, int16_t* y, int32_t channels) {
    const float high = largest, low = least;
#pragma GCC ivdep
    for (int32_t c = 0; c < channels; ++c) {
        float code = __builtin_rintf(x[c] * inverse[c]);
        code = code < high ? code : high;
        y[c] = int16_t(int32_t(code > low ? code : low));
    }
}

void decode(const int16_t* x, const float* unit, float* y, int32_t channels) {
#pragma GCC ivdep
    for (int32_t c = 0; c < channels; ++c) y[c] = float(x[c]) * unit[c];
}

}  // namespace mquans::MQ_ISA
