// Which outputs of a layer changed inputs reach.
#pragma once

#include "mquans/program.h"

namespace mquans {

// Marks the outputs in rows [begin, end) that see any changed pixel, and no others.
void touch(const LayerSpec& layer, MaskView changed, MaskView touched, int32_t begin, int32_t end);

}  // namespace mquans
