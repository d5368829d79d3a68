// The kernels of the instruction set this file is compiled for (MQ_ISA is set by the build).
#pragma once

#include "mquans/kernels.h"

namespace mquans::MQ_ISA {

void permute_row8(const int8_t* natural, int8_t* packed, int32_t outputs);
void permute_row16(const int16_t* natural, int16_t* packed, int32_t outputs);
void quantize(const QuantizeArgs&);
void delta_conv(const DeltaArgs&);
void held_sums(const SumArgs&);
void epilogue(const EpilogueArgs&);
void clipped(const EpilogueArgs&, float low, float high);  // epilogue with a clamp for activation
void unary(const UnaryArgs&);

}  // namespace mquans::MQ_ISA
