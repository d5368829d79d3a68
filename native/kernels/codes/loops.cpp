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

void decode(const DecodeArgs& args) {
    constexpr int32_t block = decoded_together;
    // Where sites follow each other, what is written behind one is written over by the next ones.
    const int64_t blocks = (args.channels + block - 1) / block, room = int64_t(args.sites) * args.channels - blocks * block;
    const int64_t whole = args.y_stride == args.channels && room >= 0 ? room / args.channels + 1 : 0;
    const int16_t* x = args.x;
    float* y = args.y;
    for (int64_t i = 0; i < args.sites; ++i, x += args.x_stride, y += args.y_stride) {
        const int32_t full = i < whole ? args.channels : args.channels / block * block;
        for (int32_t c = 0; c < full; c += block)
#pragma GCC ivdep
            for (int32_t k = c; k < c + block; ++k) y[k] = float(x[k]) * args.unit[k];
        for (int32_t c = full; c < args.channels; ++c) y[c] = float(x[c]) * args.unit[c];
    }
}

}  // namespace mquans::MQ_ISA
