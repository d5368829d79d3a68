// A float tensor as the engine sees it: pixels in rows, channels innermost.
#pragma once

#include "mquans/mask.h"

namespace mquans {

// data[(row * width + x) * stride + channel]. Axes before the last two are flattened into rows.
// stride >= channels: a tensor may be a channel slice of a wider one, so that concatenation and
// channel slices cost nothing.
struct TensorView {
    float* data = nullptr;
    int32_t rows = 0;
    int32_t width = 0;
    int32_t channels = 0;
    int32_t stride = 0;

    MQ_INLINE float* pixel(int32_t r, int32_t x) const { return data + (int64_t(r) * width + x) * stride; }
    MQ_INLINE float* pixel(int64_t p) const { return data + p * stride; }
    MQ_INLINE int64_t pixels() const { return int64_t(rows) * width; }
};

}  // namespace mquans
