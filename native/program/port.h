// Graph inputs: from the caller's layout to pixels with their channels side by side.
#pragma once

#include "mquans/program.h"

namespace mquans {

// One row of a frame; pixels [width][channels].
void lay_out(const Port& port, const float* values, int32_t row, int32_t width, int32_t channels, float* pixels);

}  // namespace mquans
