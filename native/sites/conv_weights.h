// Weights of convolutions in the order of the kernels.
#pragma once

#include "sites/steps.h"

namespace mquans {

// Weights [outputs][taps][inputs of a group] and what follows them.
ConvPhase pack_phase(const SiteKernels& kernels, const ConvPhaseSpec& spec, int32_t groups);

// The same phase by transformed weights, for WinogradArgs; its 16 taps are places of a tile.
ConvPhaseSpec transformed(const ConvPhaseSpec& spec);

}  // namespace mquans
