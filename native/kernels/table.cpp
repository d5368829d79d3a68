// The kernel table of one instruction set.
#include "kernels/kernels_isa.h"
#include "mquans/op_loops.h"

#define MQ_JOIN_(a, b) a##b
#define MQ_JOIN(a, b) MQ_JOIN_(a, b)
#define MQ_TEXT_(a) #a
#define MQ_TEXT(a) MQ_TEXT_(a)

namespace mquans {

const KernelTable& MQ_JOIN(kernels_, MQ_ISA)() {
    static const KernelTable table = {
        MQ_TEXT(MQ_ISA),    MQ_ISA::permute_row8, MQ_ISA::permute_row16, MQ_ISA::quantize,
        MQ_ISA::delta_conv, MQ_ISA::held_sums,    MQ_ISA::epilogue,      MQ_ISA::unary,
        &MQ_JOIN(op_loops_, MQ_ISA)(),
    };
    return table;
}

}  // namespace mquans
