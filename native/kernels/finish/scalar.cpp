// The oracle of the fused pass: the two passes.
#include "kernels/kernels_isa.h"

namespace mquans::scalar {

void finish(const EpilogueArgs& e, const QuantizeArgs& a, bool) {
    epilogue(e);
    quantize(a);
}

}  // namespace mquans::scalar
