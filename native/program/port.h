// Graph inputs and outputs: between the caller's layout and pixels with their channels side by side.
#pragma once

#include "mquans/program.h"

namespace mquans {

// One row of a frame; pixels [width][channels].
void lay_out(const Port& port, const float* values, int32_t row, int32_t width, int32_t channels, float* pixels);

// The way back; stride: between pixels.
void lay_back(const Port& port, const float* pixels, int32_t stride, int32_t row, int32_t width, int32_t channels,
              float* values);

}  // namespace mquans
