// How much there is to do in some rows of a reuse layer.
#pragma once

#include "mquans/cost_model.h"
#include "mquans/program.h"

namespace mquans {

// What the changes of one input row cost each output row that reads it; `pixels` and `pairs` stay 0.
std::vector<Work> work_by_row(const LayerSpec& layer, const ChangeList& changes);

// Work of the touched outputs in rows [begin, end). Without `by_row` only what it takes afresh.
Work work_of(const LayerSpec& layer, MaskView touched, const std::vector<Work>& by_row, int32_t begin,
             int32_t end);

}  // namespace mquans
