#include "kernels/simd/activate_scalar.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

int16_t aligned(const OperandArgs& operand, int16_t u, int32_t c) {
    const int32_t bounded = std::clamp<int32_t>(u, -operand.limit[c], operand.limit[c]);
    return rounding_product(int16_t(bounded * operand.left[c]), operand.right[c]);
}

}  // namespace

void combine(const CombineArgs& args) {
    for (int32_t i = 0; i < args.sites; ++i) {
        const int16_t* a = args.a.x + args.a.at[i];
        const int16_t* b = args.kind == CombineKind::align ? a : args.b.x + args.b.at[i];
        int16_t* y = args.y + int64_t(i) * args.y_stride;
        for (int32_t c = 0; c < args.channels; ++c) {
            int16_t u = 0;
            switch (args.kind) {
                case CombineKind::align: u = aligned(args.a, a[c], c); break;
                case CombineKind::sum: u = saturate(aligned(args.a, a[c], c) + aligned(args.b, b[c], c)); break;
                case CombineKind::blend:
                    u = saturate((a[c] * args.factors.a + b[c] * args.factors.b + args.factors.half()) >>
                                 args.factors.places);
                    break;
                case CombineKind::scaled:
                    u = saturate((a[c] * b[c] * args.factors.a + args.factors.half()) >> args.factors.places);
                    break;
                case CombineKind::product: u = saturate((a[c] * b[c] + args.start[c]) >> args.shift[c]); break;
            }
            store_code(args.held, i, c, u, y);
        }
    }
}

}  // namespace mquans::MQ_ISA
