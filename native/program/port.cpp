#include "program/port.h"

#include <emmintrin.h>

#include <cstring>

namespace mquans {
namespace {

// Three planes, as most pictures come: four pixels at once.
void join_planes(const float* red, int64_t plane, int32_t width, float* pixel) {
    const float *green = red + plane, *blue = green + plane;
    int32_t x = 0;
    for (; x + 4 <= width; x += 4, pixel += 12) {
        const __m128 a = _mm_loadu_ps(red + x), b = _mm_loadu_ps(green + x), c = _mm_loadu_ps(blue + x);
        // a0 b0 a1 b1, a2 b2 a3 b3 -> a0 b0 c0 a1, b1 c1 a2 b2, c2 a3 b3 c3
        const __m128 low = _mm_unpacklo_ps(a, b), high = _mm_unpackhi_ps(a, b);
        const __m128 c0a1 = _mm_shuffle_ps(c, low, _MM_SHUFFLE(2, 2, 0, 0));
        const __m128 b1c1 = _mm_shuffle_ps(low, c, _MM_SHUFFLE(1, 1, 3, 3));
        const __m128 c2a3 = _mm_shuffle_ps(c, high, _MM_SHUFFLE(2, 2, 2, 2));
        const __m128 b3c3 = _mm_shuffle_ps(high, c, _MM_SHUFFLE(3, 3, 3, 3));
        _mm_storeu_ps(pixel, _mm_shuffle_ps(low, c0a1, _MM_SHUFFLE(2, 0, 1, 0)));
        _mm_storeu_ps(pixel + 4, _mm_shuffle_ps(b1c1, high, _MM_SHUFFLE(1, 0, 2, 0)));
        _mm_storeu_ps(pixel + 8, _mm_shuffle_ps(c2a3, b3c3, _MM_SHUFFLE(2, 0, 2, 0)));
    }
    for (; x < width; ++x, pixel += 3) {
        pixel[0] = red[x];
        pixel[1] = green[x];
        pixel[2] = blue[x];
    }
}

}  // namespace

void lay_out(const Port& port, const float* values, int32_t row, int32_t width, int32_t channels, float* pixels) {
    const float* from = values + port.row_offset[row];
    if (port.c_step == 1 && port.x_step == channels) {
        std::memcpy(pixels, from, sizeof(float) * width * channels);
    } else if (channels == 3 && port.x_step == 1) {
        join_planes(from, port.c_step, width, pixels);
    } else {
        for (int32_t x = 0; x < width; ++x, from += port.x_step)
            for (int32_t c = 0; c < channels; ++c) *pixels++ = from[c * port.c_step];
    }
}

void lay_back(const Port& port, const float* pixels, int32_t stride, int32_t row, int32_t width, int32_t channels,
              float* values) {
    float* to = values + port.row_offset[row];
    if (port.c_step == 1 && port.x_step == channels && stride == channels) {
        std::memcpy(to, pixels, sizeof(float) * width * channels);
        return;
    }
    int32_t x = 0;
    // To planes, four pixels and channels at once.
    for (; port.x_step == 1 && x + 4 <= width; x += 4) {
        const float* from = pixels + int64_t(x) * stride;
        int32_t c = 0;
        for (; c + 4 <= channels; c += 4) {
            __m128 p[4];
            for (int i = 0; i < 4; ++i) p[i] = _mm_loadu_ps(from + int64_t(i) * stride + c);
            _MM_TRANSPOSE4_PS(p[0], p[1], p[2], p[3]);
            for (int i = 0; i < 4; ++i) _mm_storeu_ps(to + (c + i) * port.c_step + x, p[i]);
        }
        for (; c < channels; ++c)
            for (int i = 0; i < 4; ++i) to[c * port.c_step + x + i] = from[int64_t(i) * stride + c];
    }
    for (; x < width; ++x)
        for (int32_t c = 0; c < channels; ++c) to[x * port.x_step + c * port.c_step] = pixels[int64_t(x) * stride + c];
}

}  // namespace mquans
