// Activations on registers of codes, as codes.h defines them.
#pragma once

#include "kernels/simd/words.h"
#include "mquans/codes.h"

namespace mquans::MQ_ISA {

// What an activation needs per register of channels is read at the channel; the table lies in registers.
struct Activator {
    const ActivationArgs& args;
    Segments segments;

    __attribute__((always_inline)) explicit Activator(const ActivationArgs& activation)
        : args(activation),
          segments(table(activation)->a, table(activation)->b, table(activation)->c) {}

    __attribute__((always_inline)) static const SigmoidTable* table(const ActivationArgs& activation) {
        alignas(64) static constexpr SigmoidTable zeros = {};
        return activation.table ? activation.table : &zeros;
    }

    // S(t) for the codes u of channels c and on.
    __attribute__((always_inline)) I16 share(I16 u, int32_t c) const {
        const I16 limit = load16(args.limit + c);
        I16 t = max16(min16(u, limit), sub16(all16(0), limit));
        t = mulhrs16(mullo16(t, load16(args.left + c)), load16(args.right + c));
        if (args.table) {
            const I16 s = segments.at(abs16(t)), sign = negative(t);
            return sub16(xor16(s, sign), and16(sign, all16(-32768)));  // 1 - s for negative t
        }
        return max16(adds16(mulhrs16(t, all16(args.line_slope)), all16(args.line_start)), all16(0));
    }

    __attribute__((always_inline)) I16 operator()(I16 u, int32_t c) const {
        I16 y = u;
        switch (args.kind) {
            case ActivationKind::none: break;
            case ActivationKind::slope: {
                const I16 sign = negative(u), scaled = mulhrs16(u, load16(args.slope + c));
                y = xor16(u, and16(xor16(u, scaled), sign));
                break;
            }
            case ActivationKind::gate: {
                const I16 s = share(u, c), bound = load16(args.bound + c), gain = load16(args.gain + c);
                const I16 high_half = max16(min16(mulhi16(u, s), bound), sub16(all16(0), bound));
                const I16 low_half = adds_unsigned16(mullo16(u, s), load16(args.rounding + c));
                y = add16(mullo16(high_half, gain), mulhi_unsigned16(low_half, gain));
                break;
            }
            case ActivationKind::curve: y = adds16(mulhrs16(share(u, c), all16(args.scale)), all16(args.start)); break;
        }
        return min16(max16(y, load16(args.low + c)), load16(args.high + c));
    }
};

}  // namespace mquans::MQ_ISA
