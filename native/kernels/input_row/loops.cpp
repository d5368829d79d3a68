// Pixels whose channels lie side by side, as planes.
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

template <int32_t CHANNELS, class T>
void split(const T* __restrict pixels, int32_t width, T* planes, int64_t pitch) {
    T *__restrict first = planes, *__restrict second = planes + pitch, *__restrict third = planes + 2 * pitch,
      *__restrict fourth = planes + 3 * pitch;
    for (int32_t x = 0; x < width; ++x) {
        first[x] = pixels[x * CHANNELS];
        second[x] = pixels[x * CHANNELS + 1];
        if constexpr (CHANNELS > 2) third[x] = pixels[x * CHANNELS + 2];
        if constexpr (CHANNELS > 3) fourth[x] = pixels[x * CHANNELS + 3];
    }
}

template <class T>
void split(const T* pixels, int32_t width, int32_t channels, T* planes, int64_t pitch) {
    switch (channels) {
        case 2: return split<2>(pixels, width, planes, pitch);
        case 3: return split<3>(pixels, width, planes, pitch);
        default: return split<4>(pixels, width, planes, pitch);
    }
}

}  // namespace

void split_floats(const float* pixels, int32_t width, int32_t channels, float* planes, int64_t pitch) {
    split(pixels, width, channels, planes, pitch);
}

void split_bytes(const uint8_t* pixels, int32_t width, int32_t channels, uint8_t* planes, int64_t pitch) {
    split(pixels, width, channels, planes, pitch);
}

}  // namespace mquans::MQ_ISA
