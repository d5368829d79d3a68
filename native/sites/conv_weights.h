// Weights of convolutions in the order of the kernels.
#pragma once

#include "sites/steps.h"

namespace mquans {

// Weights [outputs][taps][inputs of a group] and what follows them.
ConvPhase pack_phase(const SiteKernels& kernels, const ConvPhaseSpec& spec, int32_t groups);

// The same weights transformed for WinogradArgs; the 16 taps are places of a tile. Where windows lie is left out.
ConvPhaseSpec transformed(const ConvPhaseSpec& spec, bool scaled);

}  // namespace mquans
