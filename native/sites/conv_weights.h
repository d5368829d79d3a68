// Weights of convolutions in the order of the kernels.
#pragma once

#include <optional>

#include "sites/steps.h"

namespace mquans {

// Weights [outputs][taps][inputs of a group] and what follows them. least: all codes of the input lie from there to 255
// beyond; they are multiplied as bytes where weights and kernels are such.
ConvPhase pack_phase(const SiteKernels& kernels, const ConvPhaseSpec& spec, int32_t groups,
                     std::optional<int16_t> least = {});

// The same weights transformed for WinogradArgs; the 16 taps are places of a tile. Where windows lie is left out.
ConvPhaseSpec transformed(const ConvPhaseSpec& spec, bool scaled);

}  // namespace mquans
