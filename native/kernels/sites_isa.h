// The kernels over listed sites of the instruction set this file is compiled for.
#pragma once

#include "mquans/codes.h"

// Products of bytes, four at once.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define MQ_BYTES
#endif

namespace mquans::MQ_ISA {

int32_t order(int32_t position, int32_t outputs);
void conv_sites(const ConvArgs&);
void winograd(const WinogradArgs&);
void take_bytes(const ByteArgs&);
void conv_bytes(const ConvArgs&);
void depthwise_sites(const DepthwiseArgs&);
void finish_sites(const FinishArgs&);
void split_floats(const float* pixels, int32_t width, int32_t channels, float* planes, int64_t pitch);
void split_bytes(const uint8_t* pixels, int32_t width, int32_t channels, uint8_t* planes, int64_t pitch);
bool input_compare(const InputRowArgs&);
void input_take(const InputRowArgs&);
void encode(const float* x, const float* inverse, int16_t least, int16_t largest, int16_t* y, int32_t channels);
void decode(const DecodeArgs& args);
void combine(const CombineArgs&);
void window_largest(const SiteWindowArgs&);
void window_sum(const SiteWindowArgs&);
void take_strided(const int16_t* x, int32_t step, int16_t* y, int32_t channels);

}  // namespace mquans::MQ_ISA
