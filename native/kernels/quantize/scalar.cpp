// The oracle of quantize and compare: design, section 3, steps 1 and 2.
#include "kernels/kernels_isa.h"
#include "kernels/quantize/rule.h"

namespace mquans::scalar {

void quantize(const QuantizeArgs& a) {
    compare_rows(a, [&](int64_t p, int32_t c) {
        return on_grid(a.x.pixel(p)[c] * a.inverse_delta[c], -a.limit, a.limit);
    });
}

}  // namespace mquans::scalar
