#include "ops/loops/loops.h"
#include "ops/loops/math.h"

namespace mquans::MQ_ISA {
namespace {

// Adds `Depth` rows of b to `Rows` rows of y. Each result is one ascending chain of fused
// multiply-adds over k, so its bits do not depend on how rows are grouped.
template <int Depth>
inline void two_rows(const float* a0, const float* a1, const float* b, int64_t b_step, float* __restrict y0,
                     float* __restrict y1, int32_t n) {
    float w0[Depth], w1[Depth];
    const float* __restrict row[Depth];
    for (int k = 0; k < Depth; ++k) {
        w0[k] = a0[k];
        w1[k] = a1[k];
        row[k] = b + k * b_step;
    }
    for (int32_t c = 0; c < n; ++c) {
        float s0 = y0[c], s1 = y1[c];
        for (int k = 0; k < Depth; ++k) {
            const float value = row[k][c];
            s0 = fma(w0[k], value, s0);
            s1 = fma(w1[k], value, s1);
        }
        y0[c] = s0;
        y1[c] = s1;
    }
}

template <int Depth>
inline void one_row(const float* a, const float* b, int64_t b_step, float* __restrict y, int32_t n) {
    float w[Depth];
    const float* __restrict row[Depth];
    for (int k = 0; k < Depth; ++k) {
        w[k] = a[k];
        row[k] = b + k * b_step;
    }
    for (int32_t c = 0; c < n; ++c) {
        float sum = y[c];
        for (int k = 0; k < Depth; ++k) sum = fma(w[k], row[k][c], sum);
        y[c] = sum;
    }
}

}  // namespace

void matmul(const MatMulArgs& args) {
    const int32_t n = args.n;
    for (int32_t m = 0; m < args.m; ++m)
        for (int32_t c = 0; c < n; ++c) args.y[m * args.y_step + c] = 0.0f;
    int32_t m = 0;
    for (; m + 2 <= args.m; m += 2) {
        const float *a0 = args.a + m * args.a_step, *a1 = a0 + args.a_step, *b = args.b;
        float *y0 = args.y + m * args.y_step, *y1 = y0 + args.y_step;
        int32_t k = 0;
        for (; k + 4 <= args.k; k += 4)
            two_rows<4>(a0 + k, a1 + k, b + k * args.b_step, args.b_step, y0, y1, n);
        for (; k < args.k; ++k)
            two_rows<1>(a0 + k, a1 + k, b + k * args.b_step, args.b_step, y0, y1, n);
    }
    for (; m < args.m; ++m) {
        const float* a = args.a + m * args.a_step;
        float* y = args.y + m * args.y_step;
        int32_t k = 0;
        for (; k + 4 <= args.k; k += 4) one_row<4>(a + k, args.b + k * args.b_step, args.b_step, y, n);
        for (; k < args.k; ++k) one_row<1>(a + k, args.b + k * args.b_step, args.b_step, y, n);
    }
}

}  // namespace mquans::MQ_ISA
