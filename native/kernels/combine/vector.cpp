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

// All codes by the same factors.
template <CombineKind KIND>
MQ_FORCE I16 whole_steps(const WholeFactors& factors, I16 a, I16 b) {
    const I32 by_a = all32(factors.a), half = all32(factors.half()), places = all32(factors.places);
    if constexpr (KIND == CombineKind::scaled) {
        const I16 lower = mullo16(a, b), upper = mulhi16(a, b);
        const auto code = [&](I32 product) __attribute__((always_inline)) {
            return shift_right(add32(mullo32(product, by_a), half), places);
        };
        return pack(code(low(lower, upper)), code(high(lower, upper)));
    } else {
        const I32 by_b = all32(factors.b);
        const auto code = [&](I32 x, I32 y) __attribute__((always_inline)) {
            return shift_right(add32(add32(mullo32(x, by_a), mullo32(y, by_b)), half), places);
        };
        const I16 a_sign = negative(a), b_sign = negative(b);
        return pack(code(low(a, a_sign), low(b, b_sign)), code(high(a, a_sign), high(b, b_sign)));
    }
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
            } else if constexpr (KIND == CombineKind::blend || KIND == CombineKind::scaled) {
                u = whole_steps<KIND>(args.factors, u, load16(b + c));
            } else {
                const I16 v = load16(b + c), lower = mullo16(u, v), upper = mulhi16(u, v);
                const I32 first = add32(low(lower, upper), load32(args.start + c));
                const I32 second = add32(high(lower, upper), load32(args.start + c + lanes));
                u = pack(shift_right(first, load32(args.shift + c)), shift_right(second, load32(args.shift + c + lanes)));
            }
            if constexpr (STRAIGHT)
                store_clamped(u, args.held.low + c, args.held.high + c, args.held.codes + args.held.at[i] + c,
                              args.channels - c);
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
        case CombineKind::blend: return all_sites<CombineKind::blend>(args);
        case CombineKind::scaled: return all_sites<CombineKind::scaled>(args);
        case CombineKind::product: return all_sites<CombineKind::product>(args);
    }
}

}  // namespace mquans::MQ_ISA
