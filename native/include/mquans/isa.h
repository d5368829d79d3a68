// Which kernels the CPU at hand can run.
#pragma once

#include <string>
#include <vector>

#include "mquans/codes.h"
#include "mquans/kernels.h"

namespace mquans {

// Names of the instruction sets that this CPU has, slowest first: "scalar", "avx2", "avx2_vnni", "avx512".
std::vector<std::string> available_isas();

// The table of the named set; throws std::invalid_argument when the CPU lacks it.
const KernelTable& kernels_for(const std::string& isa);
const SiteKernels& site_kernels_for(const std::string& isa);

}  // namespace mquans
