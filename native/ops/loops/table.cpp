#include "ops/loops/loops.h"

#define MQ_JOIN(a, b) a##b
#define MQ_TABLE(isa) MQ_JOIN(op_loops_, isa)

namespace mquans {

const OpLoops& MQ_TABLE(MQ_ISA)() {
    using namespace MQ_ISA;
    static constexpr OpLoops table = {
        unary,         binary,        pool_max,       pool_average, window_weighted, reduce_values,
        reduce_pixels, reduce_rows,   softmax_values, softmax_pixels, softmax_few,   layer_norm,
        norm_pixels,   matmul,
    };
    return table;
}

}  // namespace mquans
