// The loops of the instruction set this file is compiled for (MQ_ISA is set by the build).
#pragma once

#include "mquans/op_loops.h"

namespace mquans::MQ_ISA {

void unary(const UnaryArgs&);
void binary(const BinaryArgs&);
void pool_max(const PoolArgs&);
void pool_average(const PoolArgs&);
void window_weighted(const WindowArgs&);
float reduce_values(ReduceKind kind, const float* x, int64_t n);
void reduce_pixels(const ReduceArgs&);
void reduce_rows(const ReduceRowsArgs&);
void softmax_values(const SoftmaxArgs&);
void softmax_pixels(const SoftmaxArgs&);
void softmax_few(const SoftmaxArgs&);
void layer_norm(const NormArgs&);
void norm_pixels(const PixelNormArgs&);
void matmul(const MatMulArgs&);

}  // namespace mquans::MQ_ISA
