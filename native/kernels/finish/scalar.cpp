// The oracles of the fused passes.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/rule.h"

namespace mquans::scalar {

void requantize(const RequantizeArgs& e, const QuantizeArgs& a) {
    compare_rows(a, [&](int64_t p, int32_t c) {
        const float sum = float(e.acc.data[p * e.acc.pixel_stride + c]);
        return on_grid(__builtin_fmaf(sum, e.scale[c], e.bias[c]), e.low, e.high[c]);
    });
}

void finish(const EpilogueArgs& e, const RequantizeArgs& to_grid, const QuantizeArgs& a) {
    epilogue(e);
    requantize(to_grid, a);
}

}  // namespace mquans::scalar
