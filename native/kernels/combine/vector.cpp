// A register of channels at a time; tables are read once per register and site, from the first-level cache.
#include "kernels/simd/words.h"
#include "kernels/sites_isa.h"

namespace mquans::MQ_ISA {
namespace {

MQ_FORCE I16 aligned(const OperandArgs& operand, I16 u, int32_t c) {
    const I16 limit = load16(operand.limit + c);
    u = max16(min16(u, limit), sub16(all16(0), limit));
    return mulhrs16(mullo16(u, load16(operand.left + c)), load16(operand.right + c));
}

// Arguments are copied: stores might change them. STRAIGHT: codes go where they are held.
template <CombineKind KIND, bool STRAIGHT>
MQ_FORCE void all_sites(const CombineArgs args) {
    int16_t* y = args.y;
    for (int32_t i = 0; i < args.sites; ++i, y += args.y_stride) {
        const int16_t* a = args.a.x + args.a.at[i];
        const int16_t* b = KIND == CombineKind::align ? a : args.b.x + args.b.at[i];
        for (int32_t c = 0; c < args.channels; c += words) {
            args.held.prefetch(i, c);
            I16 u = load16(a + c);
            if constexpr (KIND == CombineKind::align) {
                u = aligned(args.a, u, c);
            } else if constexpr (KIND == CombineKind::sum) {
                u = adds16(aligned(args.a, u, c), aligned(args.b, load16(b + c), c));
            } else {
                const I16 v = load16(b + c), lower = mullo16(u, v), upper = mulhi16(u, v);
                const I32 first = add32(low(lower, upper), load32(args.start + c));
                const I32 second = add32(high(lower, upper), load32(args.start + c + lanes));
                u = pack(shift_right(first, load32(args.shift + c)), shift_right(second, load32(args.shift + c + lanes)));
            }
            if constexpr (STRAIGHT)
                store_clamped(u, args.held.low + c, args.held.high + c, args.held.codes + args.held.at[i] + c);
            else
                store16(y + c, u);
        }
    }
}

template <CombineKind KIND>
void all_sites(const CombineArgs& args) {
    args.held.low ? all_sites<KIND, true>(args) : all_sites<KIND, false>(args);
}

}  // namespace

void combine(const CombineArgs& args) {
    switch (args.kind) {
        case CombineKind::align: return all_sites<CombineKind::align>(args);
        case CombineKind::sum: return all_sites<CombineKind::sum>(args);
        case CombineKind::product: return all_sites<CombineKind::product>(args);
    }
}

}  // namespace mquans::MQ_ISA
