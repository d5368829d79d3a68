// The reference of products of whole rows: one product at a time.
#include "kernels/kernels_isa.h"

namespace mquans::scalar {
namespace {

template <class W>
void run(const SumArgs& a) {
    const W* weights = static_cast<const W*>(a.weights.data);
    for (int32_t r = 0; r < a.rows; ++r)
        for (int32_t o = a.output_begin; o < a.output_end; ++o) {
            uint32_t sum = 0;
            for (int32_t c = 0; c < a.inputs; ++c)
                sum += uint32_t(int32_t(weights[c * int64_t(a.weights.row_stride) + o]) * a.held[int64_t(r) * a.inputs + c]);
            a.acc[int64_t(r) * a.weights.row_stride + o] = int32_t(sum);
        }
}

}  // namespace

void held_sums(const SumArgs& a) { a.weights.bits == 8 ? run<int8_t>(a) : run<int16_t>(a); }

}  // namespace mquans::scalar
